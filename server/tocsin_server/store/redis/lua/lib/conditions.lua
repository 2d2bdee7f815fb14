-- conditions: what a job's start depends on beside its time. In the rest of a record behind the type: I2 length, then
-- fields of B number, I2 length, value (store/condition_records.py).
local LIMIT_KEY, WEIGHT, COLLAPSE, EXPIRE = 1, 2, 3, 4
-- Jobs of a key stand in its row by what they are, BAND apart, and then by arrival: ended ones first, then ACTIVE ones, those
-- that wait for a worker or their time, and last those that wait for another of them.
local BAND, BLOCKED_BAND, HIGHEST = 281474976710656, 844424930131968, 1125899906842624

-- The value of a field; nil where the job has none.
local function condition(job, wanted)
  if not has(job, CONDITIONS) then return nil end
  local rest, at, number, value = job.rest, string.byte(job.rest) + 4, nil, nil
  while at < job.tags_at do
    number, value, at = struct.unpack('>BI2c0', rest, at)
    if number == wanted then return value end
  end
  return nil
end

-- By when it must have begun; nil of a job that need not, has begun, or has ended.
local function begin_by(job)
  if job.state > WAITING or job.attempt > 0 then return nil end
  local said = condition(job, EXPIRE)
  if not said then return nil end
  local after_due, ms = struct.unpack('>BI6', said)
  return after_due == 1 and math.min(job.due + ms, 253402300799999) or ms
end

-- The row of its key (lib/keys); nil where it has none.
local function key_row(job, type)
  local said = condition(job, COLLAPSE)
  return said and 'c' .. type .. ':' .. string.sub(said, 14)
end

local function key_band(state)
  if state == BLOCKED then return BLOCKED_BAND end
  if state == ACTIVE then return BAND end
  return state >= COMPLETED and 0 or BAND * 2
end

-- Of a job's plan (lib/commit) its places in the rows that few jobs stand in: of those that expire, and of its key. In
-- `freed`: rows of keys of which a job has ended, or has come that waits for one.
local function plan_conditions(plan, job, now, list_of, stirred, freed)
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
  if from and (from ~= to or band == 0) then freed[from] = true end
  if band == BLOCKED_BAND and (from ~= to or band ~= band_before) then freed[to] = true end
end

-- Lets a job go that waits for the end of another of its key, where none of that runs or is to run any more.
local function touch_next(row, touch)
  local last = redis.call('ZREVRANGEBYSCORE', key(row), HIGHEST, BLOCKED_BAND, 'LIMIT', 0, 1)
  if not last[1] or redis.call('ZCOUNT', key(row), BAND, BLOCKED_BAND - 1) > 0 then return end
  local job = load(struct.unpack('>I6', last[1]))
  if job and job.state == BLOCKED then
    job.state, job.revision, job.meta = job.due > NOW and SCHEDULED or WAITING, job.revision + 1, nil
    touch(job)
  end
end
