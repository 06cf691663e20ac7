-- Posts one text of about 200 characters a request; no two in a row are the same.
local texts = {}
local words = { "lease", "claim", "worker", "vector", "commit", "ledger", "segment", "reader",
  "cluster", "document", "index", "query", "passage", "replica", "schedule", "failure" }
local thread_number = 0

function setup(thread)
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end

function init(args)
  math.randomseed(17 + number)
  for each = 1, 2000 do
    local text = ""
    while #text < 190 do
      text = text .. words[math.random(#words)] .. " "
    end
    texts[each] = text .. math.random(100000)
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

local place = 0

function request()
  place = place % #texts + 1
  local body = '{"model": "' .. (os.getenv("BENCH_MODEL") or "") ..
    '", "input": "' .. texts[place] .. '"}'
  return wrk.format(nil, nil, nil, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
