#!lua
-- move_clock: set a clock that is moved by hand ahead; never back.
-- KEYS[1]  STRING, by how many milliseconds the clock is ahead; lib/offset reads it
-- ARGV     1 to_ms | 2 channel of wake-ups
-- Returns  now_ms
--- @include lib/clock
local ahead = tonumber(ARGV[1]) - NOW
if ahead > 0 then
  redis.call('SET', KEYS[1], string.format('%d', (redis.call('GET', KEYS[1]) or 0) + ahead))
  NOW = NOW + ahead
end
redis.call('PUBLISH', ARGV[2], struct.pack('>BI6', 16, 0))
return NOW
