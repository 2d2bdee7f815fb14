-- clock: the server's own, read once a call, in milliseconds. The only reader: what moves it, as a stored offset under
-- KEYS[1] would, belongs here and moves it for all.
local _time = redis.call('TIME')
local NOW = _time[1] * 1000 + math.floor(_time[2] / 1000)
