#!lua
-- put_schedules: write schedules where they stand as they were read, and add the jobs that they make, in one step.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new | then for each schedule: schedule_id | stamp that was read, "" where none stood |
--          new stamp and schedule (store/schedule_records.py) | ms when it is to be looked at, "" never | how many jobs |
--          and for each job head and body as in add
-- Returns  {1 if the queue is new, else 0, for each schedule "OK" | "STALE" | "types" | "jobs" | "draining"}; but for OK nothing was
--          done of it
-- Events   one a job that was added
-- Wakes    "settings" where the queue is new; when the first of those that made no jobs is to be looked at
-- Bounds   the caller sends each schedule once, at most 50 schedules and jobs, each with an id of its own, and 1 MiB
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/types lib/full lib/drafts lib/collapse
local found = redis.call('HMGET', key('q'), 'epoch', 'n', 'drain')
local heads, answers, wanted = {}, {}, {}
local values, names, looks, over, first = {}, {}, {}, {}, false

-- The jobs that stand at `at` in ARGV, and are not there yet; or what the queue has no room for.
local function new_jobs(at, count)
  local jobs = {}
  for i = at, at + 2 * count - 2, 2 do
    local id = struct.unpack('>I2c0', ARGV[i + 1])
    if not find_job(id) then
      if found[3] then return nil, 'draining' end
      local asked = heads[ARGV[i]] or read_head(ARGV[i])  -- those of one midnight are alike
      heads[ARGV[i]] = not asked.collapse and asked or nil
      if not type_fits(asked.type) then return nil, 'types' end
      if not job_fits() then return nil, 'jobs' end
      jobs[#jobs + 1] = {asked, id, ARGV[i + 1]}
    end
  end
  return jobs
end

local function decide(id, stamp, value, look, at, count)
  local stands = redis.call('HGET', key('z'), id)
  if (stands and string.sub(stands, 1, 16) or '') ~= stamp then return 'STALE' end
  local jobs, refusal = new_jobs(at, count)
  if not jobs then return refusal end
  for _, job in ipairs(jobs) do wanted[#wanted + 1] = job end
  values[#values + 1], values[#values + 2] = id, value
  names[#names + 1], names[#names + 2] = 0, id
  if look == '' then
    over[#over + 1] = id
  else
    looks[#looks + 1], looks[#looks + 2] = look, id
    if #jobs == 0 then first = math.min(first or math.huge, tonumber(look)) end
  end
  return 'OK'
end

local function add(asked, id, body)
  local done, other
  if asked.collapse then
    local row = key_row(asked, asked.type)
    if keyed[row] then
      commit()
      keyed = {}
    end
    keyed[row] = true
    done, other = collapse(asked)
  end
  if done == 'REPLACED' then replace(other, asked, string.sub(body, 3 + #id)) end
  if not done then create(asked, id, body) end
end

local at = 2
while at <= #ARGV do
  local count = tonumber(ARGV[at + 4])
  answers[#answers + 1] = decide(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], at + 5, count)
  at = at + 5 + 2 * count
end
if #values == 0 then return {0, answers} end

last = tonumber(found[2] or 0)
for _, one in ipairs(wanted) do add(one[1], one[2], one[3]) end
if not found[1] then
  redis.call('HSET', key('q'), 'epoch', ARGV[1])
  publish(8, 0)
end
redis.call('HSET', key('z'), unpack(values))
redis.call('ZADD', key('u'), unpack(names))
if #over > 0 then redis.call('ZREM', key('y'), unpack(over)) end
if #looks > 0 then redis.call('ZADD', key('y'), unpack(looks)) end
stirred.y = true
if last > tonumber(found[2] or 0) then
  redis.call('HSET', key('q'), 'n', string.format('%d', last))
end
if #order > 0 then commit() else flush_tick(0) end
if first then publish(2, first) end
return {found[1] and 0 or 1, answers}
