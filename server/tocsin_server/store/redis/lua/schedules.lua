#!lua flags=no-writes
-- schedules: a queue's schedules by id.
-- KEYS[1]  root of the queue
-- ARGV     1 the id after which they begin, "" with the first | 2 how many at most | 3 1 with their jobs' payloads, 0 without
-- Returns  {1 if it stopped before so many as there is much to read, else 0, {{schedule_id, stamp and schedule}, ...}}
-- Bounds   the caller asks for at most 100; 2 MiB are read, and what a schedule has beyond that
--- @include lib/keys
local MOST_READ = 2 * 1024 * 1024
-- In JSON a quote within a text has a backslash before it, so that this is nowhere else; and no base64 has a bracket.
local PAYLOAD = '"payload":['
local found, read, from = {}, 0, ARGV[1] == '' and '-' or '(' .. ARGV[1]
local ids = redis.call('ZRANGEBYLEX', key('u'), from, '+', 'LIMIT', 0, ARGV[2])
for i, id in ipairs(ids) do
  local stored = redis.call('HGET', key('z'), id)
  if stored then
    read = read + #stored
    local at = ARGV[3] == '0' and string.find(stored, PAYLOAD, 1, true)
    if at then
      local stop = string.find(stored, ']', at, true)
      stored = string.sub(stored, 1, at + #PAYLOAD - 2) .. 'null' .. string.sub(stored, stop + 1)
    end
    found[#found + 1] = {id, stored}
    if read >= MOST_READ and i < #ids then return {1, found} end
  end
end
return {0, found}
