-- GET, with the few headers that a benchmark tool sends.
require("report")
