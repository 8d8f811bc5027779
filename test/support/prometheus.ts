// Reads the Prometheus text exposition format as strictly as a scraper: a line that it does not know is an error.

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** Of a histogram: its `_bucket`, `_sum` and `_count` lines. */
  readonly samples: readonly Sample[];
}

const META_LINE = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/;
const SAMPLE_LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/gy;

/** Families by name. Throws on anything that is not exposition text. */
export function parseExposition(text: string): ReadonlyMap<string, MetricFamily> {
  const families = new Map<string, { name: string; help: string; type: string; samples: Sample[] }>();
  const family = (name: string) => {
    const known = families.get(name) ?? { name, help: '', type: 'untyped', samples: [] };
    families.set(name, known);
    return known;
  };
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const meta = META_LINE.exec(line);
    if (meta !== null) {
      family(meta[2] ?? '')[meta[1] === 'HELP' ? 'help' : 'type'] = meta[3] ?? '';
      continue;
    }
    const sample = parseSample(line);
    const owner = sample.name.replace(/_(bucket|sum|count)$/, '');
    family(families.get(owner)?.type === 'histogram' ? owner : sample.name).samples.push(sample);
  }
  return families;
}

/** Sum of the samples whose labels include `labels`; histograms by their `_count`. */
export function sumOf(
  families: ReadonlyMap<string, MetricFamily>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const found = families.get(name);
  const wanted = found?.type === 'histogram' ? `${name}_count` : name;
  const samples = found?.samples.filter(
    (sample) =>
      sample.name === wanted && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  return (samples ?? []).reduce((sum, { value }) => sum + value, 0);
}

function parseSample(line: string): Sample {
  const match = SAMPLE_LINE.exec(line);
  if (match === null) throw new Error(`no line of the exposition format: ${line}`);
  const [, name = '', labels = '', text = ''] = match;
  const value = Number(text.replace('+Inf', 'Infinity').replace('-Inf', '-Infinity'));
  // Scrapers take any case of it; the library writes `Nan`.
  if (Number.isNaN(value) && text.toLowerCase() !== 'nan') throw new Error(`no number in ${line}`);
  return { name, labels: parseLabels(labels), value };
}

function parseLabels(text: string): Record<string, string> {
  const labels = [...text.matchAll(LABEL)];
  if (labels.reduce((length, [all]) => length + all.length, 0) !== text.length) throw new Error(`no labels: ${text}`);
  const unescape = (value: string): string =>
    value.replaceAll(/\\(["\\n])/g, (_, char: string) => (char === 'n' ? '\n' : char));
  return Object.fromEntries(labels.map(([, name = '', value = '']) => [name, unescape(value)]));
}
