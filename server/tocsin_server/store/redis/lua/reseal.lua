#!lua flags=allow-oom
-- reseal: put other bytes in the place of what jobs of one queue hold, where it stands as it was read.
-- KEYS[1]  root of the queue
-- ARGV     for each: id | payload, {I4 as it was read, as it is to be, no shorter}, or "" where it stays | extras, of each
--          {field, I4 as it was read, I4 as it is to be}, or ""
-- Returns  one a job: 1 written, 0 it does not stand so
-- Events   none: nothing changed that anybody could see
-- Bounds   the caller sends at most 50 jobs and 1 MiB
--- @include lib/keys lib/conditions lib/rare lib/job lib/ids
local writes, answers = {}, {}

-- Notes the writes, or says that it does not stand so.
local function reseal(job, payload, packed)
  local own = {}
  if payload ~= '' then
    local record, at = key('j' .. job.arrival), HEADER_LEN + #job.rest + #job.own
    local before = struct.unpack('>I4c0', payload)
    local after = string.sub(payload, 5 + #before)
    if redis.call('GETRANGE', record, at, -1) ~= before then return 0 end
    own[#own + 1] = {'SETRANGE', record, at, after}
  end
  local beside, at = key('h' .. job.arrival), 1
  while at <= #packed do
    local field, before, after
    field, before, after, at = struct.unpack('>c1I4c0I4c0', packed, at)
    if redis.call('HGET', beside, field) ~= before then return 0 end
    own[#own + 1] = {'HSET', beside, field, after}
  end
  for _, write in ipairs(own) do writes[#writes + 1] = write end
  return 1
end

for i = 1, #ARGV, 3 do
  local n = find(ARGV[i])
  local job = n and load(n)
  answers[#answers + 1] = job and reseal(job, ARGV[i + 1], ARGV[i + 2]) or 0
end
for _, write in ipairs(writes) do redis.call(unpack(write)) end
return answers
