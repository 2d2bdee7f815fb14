-- collapse: what becomes of a job of whose key others stand (conditions.proto), and how a standing one becomes another.
local BY_KEEP, BY_REPLACE, BY_THROTTLE, BY_DEBOUNCE, BY_RUN_AGAIN = 1, 2, 3, 4, 5
local keyed = {}  -- rows of keys of jobs that this call has not written yet

-- Puts a new spec and time in a job's place. One that waits for another of its key goes on waiting for it.
--- @rare
local function replace(job, asked, payload)
  local waits_for, follow_on = job.state == BLOCKED and key_row(job, job.type), keep_following(job)
  job.extras_gone, job.log_gone = job.extras_gone or has(job, HAS_EXTRAS), job.log_gone or has(job, HAS_LOG)
  job.extras = false
  remember_conditions(job)
  job.flags = asked.flags - (has(asked, OWN_ID) and OWN_ID or 0) + (has(job, OWN_ID) and OWN_ID or 0)
  job.priority, job.failures, job.crashes, job.token = asked.priority, 0, 0, NO_TOKEN
  rewrite(job, asked.rest, payload)
  follow_on(job)
  make_due(job, asked.due)
  if waits_for and key_row(job, job.type) == waits_for then job.state = BLOCKED end
  return job
end

--- @rare
local function newest(row, band)
  local found = redis.call('ZREVRANGEBYSCORE', key(row), string.format('(%d', band + BAND), string.format('%d', band),
    'LIMIT', 0, 1)
  return found[1] and load(struct.unpack('>I6', found[1]))
end

-- "KEPT" or "REPLACED" and the job of its key that stands; nil where a new one is to be made, when `asked` says.
-- What this call has done to jobs of the key must have been written before.
--- @rare
local function collapse(asked)
  local mode, window, longest = struct.unpack('>BI6I6', asked.collapse)
  local row = key_row(asked, asked.type)
  local blocked, pending, active = newest(row, BLOCKED_BAND), newest(row, BAND * 2), newest(row, BAND)
  local waits = pending or blocked
  if mode == BY_KEEP and (waits or active) then return 'KEPT', waits or active end
  if mode == BY_KEEP or mode == BY_THROTTLE then
    local latest
    for _, job in pairs({blocked or nil, pending or nil, active or nil, newest(row, 0) or nil}) do
      local later = not latest or job.create > latest.create or (job.create == latest.create and job.n > latest.n)
      if later then latest = job end
    end
    if latest and latest.create + window > NOW then return 'KEPT', latest end
    return nil
  end
  if mode == BY_DEBOUNCE then
    asked.due = NOW + window
    if waits and longest > 0 then asked.due = math.max(NOW, math.min(asked.due, waits.create + longest)) end
    asked.state = asked.due > NOW and SCHEDULED or WAITING
  end
  if mode ~= BY_RUN_AGAIN then return waits and 'REPLACED', waits end
  waits = blocked or (pending and pending.attempt == 0 and pending)
  if waits then return 'REPLACED', waits end
  if pending or active then asked.state = BLOCKED end
end
