#!lua flags=no-writes
-- schedules: a queue's schedules by id.
-- KEYS[1]  root of the queue
-- ARGV     1 the id after which they begin, "" with the first | 2 how many at most
-- Returns  {{schedule_id, stamp and schedule}, ...}
-- Bounds   the caller asks for at most 100
--- @include lib/keys
local found, from = {}, ARGV[1] == '' and '-' or '(' .. ARGV[1]
for _, id in ipairs(redis.call('ZRANGEBYLEX', key('u'), from, '+', 'LIMIT', 0, ARGV[2])) do
  local stored = redis.call('HGET', key('z'), id)
  if stored then found[#found + 1] = {id, stored} end
end
return found
