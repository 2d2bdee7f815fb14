#!lua
-- use_calendars: read calendars, and write down who is about to name them, if all are there.
-- KEYS[1]  root of the calendars
-- ARGV     1 user | 2 token | then their names
-- Returns  one a name: revision and calendar, or false where none stands; then nothing was written down
-- Bounds   the caller sends at most 10 names, and up to 20 where a schedule's are changed
--- @include lib/keys lib/clock lib/calendars
local found, all = {}, true
for i = 3, #ARGV do
  found[i - 2] = redis.call('HGET', key('c'), ARGV[i])
  all = all and found[i - 2]
end
if all then
  for i = 3, #ARGV do write_use(use_of(ARGV[i], ARGV[1]), NOW, ARGV[2]) end
end
return found
