-- clock: the server's own, read once a call, in milliseconds. The only reader; where the store's clock is moved by hand,
-- lib/offset comes right after it.
local _time = redis.call('TIME')
local NOW = _time[1] * 1000 + math.floor(_time[2] / 1000)
