-- Sixteen GETs in one write; the latency is that of the sixteen together.
require("report")

local batch

function init(args)
    batch = string.rep(wrk.format(), 16)
end

function request()
    return batch
end
