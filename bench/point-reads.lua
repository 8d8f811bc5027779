-- wrk script: point reads of random keys. Arguments: graphql | rest, number of stores, number of items.
-- Prints one JSON line at the end; `wrong` counts answers that are no success.

local mode, stores, items
local query = 'query($s:ID!,$i:ID!){inventory(storeId:$s,itemId:$i){onHand received sold}}'
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  mode, stores, items = args[1], tonumber(args[2]), tonumber(args[3])
  wrong = 0
  math.randomseed(1)
end

function request()
  local store = math.random(1, stores)
  local item = 'item-' .. math.random(1, items)
  if mode == 'rest' then
    return wrk.format('GET', '/inventory/stores/' .. store .. '/items/' .. item .. '/count')
  end
  local body = '{"query":"' .. query .. '","variables":{"s":"' .. store .. '","i":"' .. item .. '"}}'
  return wrk.format('POST', '/graphql', { ['content-type'] = 'application/json' }, body)
end

function response(status, _, body)
  if status ~= 200 or body:find('"errors"', 1, true) or body:find(':null', 1, true) then wrong = wrong + 1 end
end

function done(summary, latency)
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + thread:get('wrong') end
  io.write(string.format('{"requestsPerSecond":%.0f,"p50Ms":%.2f,"p99Ms":%.2f,"wrong":%d}\n',
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, sum + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
