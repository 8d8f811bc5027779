// What store-writer.ts writes, for the test that reads it.

export const SLOTS = 50;
export const HEAD_KEY = Buffer.from('head');

export function slotKey(slot: number): Buffer {
  return Buffer.from(`slot-${slot}`);
}

/** The number in a value; 0 where there is none. */
export function numberOf(value: Buffer | null | undefined): number {
  return value === null || value === undefined ? 0 : Number(String(value));
}
