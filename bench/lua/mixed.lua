-- Every tenth request is for /slow; the latency is that of the others.
--
-- wrk measures all requests alike and tells a script nothing about connections, so each instant request carries the
-- time of its sending, and the application (bench.apps:mixed) sends it back.
local ffi = require("ffi")
local report = require("report")

ffi.cdef [[
    typedef struct { long tv_sec; long tv_nsec; } bench_timespec;
    int clock_gettime(int clock, bench_timespec *time);
]]

local CLOCK_MONOTONIC = 1
local time = ffi.new("bench_timespec")
local threads = {}
local number = 0
latencies = {}

local function microseconds()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
    return tonumber(time.tv_sec) * 1e6 + math.floor(tonumber(time.tv_nsec) / 1e3)
end

function setup(thread)
    threads[#threads + 1] = thread
end

function request()
    number = number + 1
    if number % 10 == 0 then
        return wrk.format("GET", "/slow")
    end
    return wrk.format("GET", "/", { Host = wrk.headers["Host"], ["X-Sent"] = string.format("%d", microseconds()) })
end

function response(status, headers, body)
    local sent = headers["X-Sent"] or headers["x-sent"]
    if sent then
        latencies[#latencies + 1] = microseconds() - tonumber(sent)
    end
end

function done(summary, latency, requests)
    local all = {}
    for _, thread in ipairs(threads) do
        for _, value in ipairs(thread:get("latencies")) do
            all[#all + 1] = value
        end
    end
    table.sort(all)
    local function percentile(percent)
        return all[math.max(1, math.ceil(#all * percent / 100))] or 0
    end
    report.print(summary, percentile(50), percentile(99))
end
