#!lua flags=no-writes
-- parents: whom jobs wait for, or waited for.
-- KEYS[1]  root of the queue
-- ARGV     the ids
-- Returns  of each what :D has of it (lib/following), flat; nothing where there is none
--- @include lib/keys lib/conditions lib/rare lib/job lib/ids
local answers = {}
for i = 1, #ARGV do
  local n = find(ARGV[i])
  answers[#answers + 1] = n and redis.call('HGETALL', key('D' .. arrival6(n))) or {}
end
return answers
