#!lua
-- put_schedule: write a schedule where it stands as it was read, and add the jobs that it makes, in one step.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new | 2 schedule_id | 3 stamp that was read, "" where none stood | 4 new stamp and
--          schedule (store/schedule_records.py) | 5 ms when it is to be looked at, "" never | then for each job head and body as
--          in add
-- Returns  {1 if the queue is new, else 0, "OK" | "STALE" | "types" | "jobs"}; but for OK nothing was done
-- Events   one a job that was added
-- Wakes    "settings" where the queue is new; without jobs, when the schedule is to be looked at
-- Bounds   the caller sends at most 50 jobs, each with an id of its own, and 1 MiB
--- @include lib/keys lib/clock lib/job lib/ids lib/rows lib/events lib/tick lib/commit lib/types lib/drafts
local stands = redis.call('HGET', key('z'), ARGV[2])
if (stands and string.sub(stands, 1, 16) or '') ~= ARGV[3] then return {0, 'STALE'} end
local found = redis.call('HMGET', key('q'), 'epoch', 'n')
local wanted, asked = {}, false
for i = 6, #ARGV, 2 do
  if ARGV[i] ~= '' then asked = read_head(ARGV[i]) end
  local id = struct.unpack('>I2c0', ARGV[i + 1])
  if not find_job(id) then
    if not type_fits(asked.type) then return {0, 'types'} end
    if not job_fits() then return {0, 'jobs'} end
    wanted[#wanted + 1] = {asked, id, ARGV[i + 1]}
  end
end

last = tonumber(found[2] or 0)
for _, one in ipairs(wanted) do create(one[1], one[2], one[3]) end
if not found[1] then
  redis.call('HSET', key('q'), 'epoch', ARGV[1])
  publish(8, 0)
end
redis.call('HSET', key('z'), ARGV[2], ARGV[4])
redis.call('ZADD', key('u'), 0, ARGV[2])
if ARGV[5] == '' then
  redis.call('ZREM', key('y'), ARGV[2])
else
  redis.call('ZADD', key('y'), ARGV[5], ARGV[2])
end
stirred.y = true
if #wanted > 0 then
  redis.call('HSET', key('q'), 'n', string.format('%d', last))
  commit()
else
  flush_tick(0, stirred)
  if ARGV[5] ~= '' then publish(2, tonumber(ARGV[5])) end
end
return {found[1] and 0 or 1, 'OK'}
