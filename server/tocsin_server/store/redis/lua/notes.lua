#!lua flags=no-writes
-- notes: read notes whole, with their ends.
-- KEYS[1]  root of the queue
-- ARGV     the notes' keys
-- Returns  one a key: {revision and value, until_ms}, or false where none stands
-- Bounds   the caller sends at most 50 keys
--- @include lib/keys lib/clock
local answers = {}
for i = 1, #ARGV do
  local note = key('b' .. ARGV[i])
  local value, till = redis.call('GET', note), redis.call('PEXPIRETIME', note)
  -- Redis drops it by its own clock.
  if MANUAL == 1 and till <= NOW then value = false end
  answers[i] = value and {value, till} or false
end
return answers
