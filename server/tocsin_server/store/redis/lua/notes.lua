#!lua flags=no-writes
-- notes: read notes whole, with their ends.
-- KEYS[1]  root of the queue
-- ARGV     the notes' keys
-- Returns  one a key: {revision and value, until_ms}, or false where none stands
-- Bounds   the caller sends at most 50 keys
--- @include lib/keys
local answers = {}
for i = 1, #ARGV do
  local note = key('b' .. ARGV[i])
  local value = redis.call('GET', note)
  answers[i] = value and {value, redis.call('PEXPIRETIME', note)} or false
end
return answers
