-- POST of as many bytes as BENCH_UPLOAD says.
require("report")

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("x", tonumber(os.getenv("BENCH_UPLOAD")))
