-- key_rows: the rows that few jobs stand in: of those that expire, and of those of one key (JobSpec.collapse).
-- Jobs of a key stand in its row by what they are, BAND apart, and then by arrival: ended ones first, then ACTIVE ones, those
-- that wait for a worker or their time, and last those that wait for another of them.
local BAND, BLOCKED_BAND, HIGHEST = 281474976710656, 844424930131968, 1125899906842624
local ended_keys = {}  -- rows of keys of which a job has ended, or has come that waits for one

-- By when it must have begun; nil of a job that need not, has begun, or has ended.
--- @rare
local function begin_by(job)
  if job.state > WAITING or job.attempt > 0 or only_key(job) then return nil end
  local said = condition(job, EXPIRE)
  if not said then return nil end
  local after_due, ms = struct.unpack('>BI6', said)
  return after_due == 1 and math.min(job.due + ms, 253402300799999) or ms
end

-- The row of its key (lib/keys); nil where it has none.
--- @rare
local function key_row(job, type)
  local said = condition(job, COLLAPSE)
  return said and 'K' .. type .. ':' .. string.sub(said, 14)
end

--- @rare
local function key_band(state)
  if state == BLOCKED then return BLOCKED_BAND end
  if state == ACTIVE then return BAND end
  return state >= COMPLETED and 0 or BAND * 2
end

-- Of a job's plan (lib/commit) its places in these rows.
--- @rare
local function plan_conditions(plan, job, now)
  if not job.old and only_key(job) then return end
  local was = job.was
  local before, by = was and (job.old or job), now and begin_by(now)
  if by then
    plan.expires, plan.expiry, stirred.x = list_of('ZADD', 'x'), string.format('%d', by), true
  elseif before and was.state <= WAITING and condition(before, EXPIRE) then
    stirred.x = true
    if not plan.expires then plan.revived = list_of('ZREM', 'x') end
  end
  local from, to = before and key_row(before, was.type), now and key_row(now, now.type)
  local band_before, band = from and key_band(was.state), to and key_band(now.state)
  if from and from ~= to then plan.key_leaves = list_of('ZREM', from) end
  if to and (from ~= to or band ~= band_before) then plan.key_enters, plan.key_band = list_of('ZADD', to), band end
  if from and (from ~= to or band == 0) then ended_keys[from] = true end
  if band == BLOCKED_BAND and (from ~= to or band ~= band_before) then ended_keys[to] = true end
  plan_following(plan, job, now, before)
end

-- Puts one job into the row of its key, or takes it out.
--- @rare
local function move_in_key(plan, arrival, n)
  local list = plan.key_leaves
  if list then list[#list + 1] = arrival end
  list = plan.key_enters
  if list then
    local at = #list
    list[at + 1], list[at + 2] = string.format('%d', plan.key_band + n), arrival
  end
end

-- Lets jobs go that wait for the end of another of their key, where none of that runs or is to run any more.
--- @rare
local function touch_next_of_keys()
  local rows = ended_keys
  ended_keys = {}
  for row in pairs(rows) do
    local last = redis.call('ZREVRANGEBYSCORE', key(row), HIGHEST, BLOCKED_BAND, 'LIMIT', '0', '1')
    if last[1] and redis.call('ZCOUNT', key(row), BAND, BLOCKED_BAND - 1) == 0 then
      local job = load((struct.unpack('>I6', last[1])))
      if job and job.state == BLOCKED then
        job.state, job.revision, job.meta = job.due > NOW and SCHEDULED or WAITING, job.revision + 1, nil
        touch(job)
      end
    end
  end
end
