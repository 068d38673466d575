-- What every script ends with: one line of JSON for bench/load.py. Times in microseconds.
local report = {}

function report.print(summary, p50, p99)
    local errors = summary.errors
    io.write(string.format(
        'BENCH {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "connect": %d, "read": %d, "write": %d, '
            .. '"status": %d, "timeout": %d}\n',
        summary.requests, summary.duration, p50, p99, errors.connect, errors.read, errors.write, errors.status,
        errors.timeout))
end

function done(summary, latency, requests)
    report.print(summary, latency:percentile(50), latency:percentile(99))
end

return report
