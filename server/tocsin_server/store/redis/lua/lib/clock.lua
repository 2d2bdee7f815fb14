-- clock: the server's own, read once a call, in milliseconds. The only place that reads it.
local _time = redis.call('TIME')
local NOW = _time[1] * 1000 + math.floor(_time[2] / 1000)
