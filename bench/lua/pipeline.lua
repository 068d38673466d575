-- As many GETs in one write as BENCH_DEPTH says; the latency is that of all of them together.
require("report")

local batch

function init(args)
    batch = string.rep(wrk.format(), tonumber(os.getenv("BENCH_DEPTH")))
end

function request()
    return batch
end
