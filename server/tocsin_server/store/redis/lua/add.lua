#!lua
-- add: store new jobs of one queue, in order.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new | then for each job:
--          head >BBI6i4I6I6I4: on_conflict, is a delay, ms, priority, keep_done, keep_failed, random bits;
--          then I2 job_id, empty if the store is to make one, and the rest without the id | payload
-- Returns  {1 if the queue is new, else 0, now_ms, new, others}. new: for each job >BI6I6 state, due, arrival, and the
--          id where the store made it; 13 zeros for one that is not new, of which `others` says in order
--          {"REPLACED" | "KEPT", answer} | {"JOB_EXISTS" | "JOB_ACTIVE", state} | {"QUOTA", "types" | "jobs"}
-- Events   one a job that was created or replaced
-- Wakes    "settings" where the queue is new
-- Clock    the server's; a delay counts from it, a time that has passed means now
-- Bounds   the caller sends at most 50 jobs and 1 MiB
--- @include lib/keys lib/clock lib/job lib/ids lib/tick lib/commit lib/change lib/types
local FAIL, KEEP, REPLACE = 1, 2, 3
local HEAD = '>BBI6i4I6I6I4I2c0'
local NOT_NEW = string.rep('\0', 13)
local new_ones, others = {}, {}

-- The id goes before the rest of the spec; both are what stands until the job is replaced.
local function with_id(id, rest)
  return struct.pack('>I2', #id) .. id .. rest
end

local function create(id, asked, rest, payload)
  local n = redis.call('HINCRBY', key('q'), 'n', 1)
  local arrival, flags = arrival6(n), 0
  if id == '' then
    id = new_id(n, asked.seed)
  else
    flags = CALLERS_ID
    redis.call('HSET', key('d'), id, arrival)
  end
  rest = with_id(id, rest)
  local job = job_of(n, arrival, false, rest, SCHEDULED, flags, asked.priority, 0, 0, 0, 0, NOW, 0, 0, 0, 0, NO_TOKEN,
    asked.keep_done, asked.keep_failed, HEADER_LEN + #rest)
  job.payload_new, job.new_tags = payload, tags(job)
  make_due(job, asked.due)
  return job
end

local function replace(job, asked, rest, payload)
  job.extras_gone, job.extras = has(job, HAS_EXTRAS), false
  job.flags = has(job, CALLERS_ID) and CALLERS_ID or 0
  job.priority, job.keep_done, job.keep_failed = asked.priority, asked.keep_done, asked.keep_failed
  job.failures, job.crashes, job.token = 0, 0, NO_TOKEN
  rewrite(job, with_id(job.id, rest), payload)
  make_due(job, asked.due)
  return job
end

local function add(id, asked, rest, payload)
  local standing = id ~= '' and find_job(id)
  if standing and asked.on_conflict == KEEP then return {'KEPT', standing} end
  if standing and asked.on_conflict == FAIL then return {'JOB_EXISTS', standing.state} end
  if standing and standing.state == ACTIVE then return {'JOB_ACTIVE', standing.state} end
  if not type_fits(struct.unpack('>Bc0', rest)) then return {'QUOTA', 'types'} end
  if not standing and not job_fits() then return {'QUOTA', 'jobs'} end
  if not standing then return {'CREATED', create(id, asked, rest, payload)} end
  if ended(standing.state) then
    remove_early(standing)
    commit()
    local anew = create(id, asked, rest, payload)
    -- Who has seen the old one must not take this for it.
    anew.revision, anew.meta = standing.revision + 1, false
    return {'REPLACED', anew}
  end
  return {'REPLACED', replace(standing, asked, rest, payload)}
end

local new = redis.call('HSETNX', key('q'), 'epoch', ARGV[1])
if new == 1 then publish(8, 0) end
for i = 2, #ARGV, 2 do
  local head = ARGV[i]
  local on_conflict, is_delay, ms, priority, keep_done, keep_failed, seed, id, at = struct.unpack(HEAD, head)
  local asked = {on_conflict = on_conflict, due = math.max(NOW, is_delay == 1 and NOW + ms or ms), priority = priority,
    keep_done = keep_done, keep_failed = keep_failed, seed = seed % 67108864}
  local done = add(id, asked, string.sub(head, at), ARGV[i + 1])
  local job = done[2]
  if done[1] == 'CREATED' then
    new_ones[#new_ones + 1] = struct.pack('>BI6I6', job.state, job.due, job.n) .. (id == '' and job.id or '')
  else
    if type(job) == 'table' then done[2] = answer(job) end
    new_ones[#new_ones + 1] = NOT_NEW
    others[#others + 1] = done
  end
end
commit()
return {new, NOW, table.concat(new_ones), others}
