#!lua flags=allow-oom
-- claim: lease up to N due jobs of one queue, best first.
-- KEYS[1]  root of the queue
-- ARGV     1 limit | 2 lease_ms | 3 request, 8 bytes, the token of each lease granted | 4 "1": the request may have been
--          made before | then type, how many of it at most, ...
-- Returns  {now_ms, "1" if the caller should claim again at once, {answer, ...}}; {now_ms, "L", {}} where the queue has
--          limits, shared ones too, or turns: it is for claim_limited
-- Events   one a job that became WAITING, also where it was leased at once, and one a job that was leased
-- Clock    the server's; no caller's time comes in
-- Bounds   looks at 50 due jobs at most, leases at most 50 and 1 MiB a call
-- Why one script: a crash between taking and leasing would lose the job.
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/resume lib/promote lib/repeats lib/heads
local limit, lease_ms, request = math.min(tonumber(ARGV[1]), 50), tonumber(ARGV[2]), ARGV[3]
local taken, bytes, more = {}, 0, false
announce = false  -- what becomes WAITING here was due, and who waits for it has a timer of its own

if ARGV[4] == '1' then
  rare()
  taken = leased_before(request)
  if #taken > 0 then return {NOW, '1', taken} end
end

-- Where more are due than a call may change, the best is known only once all of them are WAITING; but where no SCHEDULED
-- job has a priority, none of those behind the first is better than these.
local queue = redis.call('HMGET', key('q'), 'paused', 'flat', 'limits', 'until', 'shared')
if queue[3] or queue[5] then return {NOW, 'L', {}} end
if queue[4] then queue[1] = still_paused(queue[1], queue[4]) end
local due = redis.call('ZRANGEBYSCORE', key('s'), '-inf', NOW, 'LIMIT', 0, 51)
local behind = #due > 50
if behind then due[51] = nil end
if queue[1] or (behind and not queue[2]) then
  make_waiting(due)
  return {NOW, behind and '1' or '0', taken}
end

-- The head of each type's row, as much of it as this call can need; `left` is how many of the type may be taken.
local rows, left, fetch = {}, {}, limit
if #ARGV > 24 then fetch = math.max(4, math.ceil(2 * limit / ((#ARGV - 4) / 2))) end
for i = 5, #ARGV, 2 do
  local type = ARGV[i]
  left[type] = math.min(tonumber(ARGV[i + 1]), limit)
  local size = math.min(left[type], fetch)
  if size > 0 then
    local row = redis.call('ZRANGE', key('w' .. type), 0, size - 1, 'WITHSCORES')
    if #row > 0 then
      local full = #row == 2 * size
      rows[#rows + 1] = {type = type, row = row, at = 1, cut = full and size < left[type], full = full}
    end
  end
end

-- Due jobs stand in rows beside those, to be leased from where they are: to make each WAITING first costs as much as to
-- lease it. `due_left`: those that are made WAITING in the end. `horizon`: what comes after it may not be the best.
local due_left, horizon, stood = {}, false, {}
if #due > 0 then
  local last = add_due_rows(due, left, rows, due_left)
  horizon = behind and last
end

local alike = {}  -- by meta: a job that stood so, and what it is now
local with_extras = {}  -- by place in the answer; what the last attempt said goes once it is known that this script will do

local function lease(job)
  job.state, job.attempt, job.start = ACTIVE, job.attempt + 1, NOW
  job.ends, job.token = NOW + lease_ms, request
  changed(job)
end

-- Says that the job has become WAITING, before it is leased.
local function tell_due(meta, arrival, own)
  local job = stood[meta]
  if not job then
    job = parse(meta)
    job.state, job.revision, job.meta = WAITING, job.revision + 1, nil
    stood[meta] = job
  end
  add_event(job, arrival, own)
end

while #taken < limit do
  local r, member = best_of(rows, left, horizon)
  if not r then break end
  r.at = r.at + 2
  local arrival = string.sub(member, 7)
  local n, meta, own, body = struct.unpack('>I6', arrival), read_full(arrival)
  local job = meta and alike[meta]
  if meta and not job then
    job = job_of(n, arrival, meta, own)
    if job.state ~= (r.due and SCHEDULED or WAITING) or job.type ~= r.type then job = nil end
  end
  if few then rare() end
  if job and few and expired(job) then
    if r.due then due_left[arrival] = nil end
    more, r.cut = true, r.full  -- there may be others behind those that were looked at
  elseif job then
    bytes = bytes + #body
    if bytes > 1048576 and #taken > 0 then
      more = true
      break
    end
    if r.due then
      tell_due(meta, arrival, own)
      due_left[arrival] = nil
    end
    if alike[meta] then
      join(job, n, arrival, own)
    else
      if r.due then job.revision = job.revision + 1 end
      lease(job)
      if not has(job, HAS_EXTRAS) then alike[meta] = job end
    end
    left[r.type] = left[r.type] - 1
    taken[#taken + 1] = arrival .. meta_of(job) .. body
    if has(job, HAS_EXTRAS) then with_extras[#taken] = job end
  else
    drop('w' .. r.type, member)
  end
  if r.at > #r.row and r.cut then
    -- What stands next in this row was not read; a lesser job of another type must not go before it.
    more = true
    break
  end
end
if #taken == limit and tonumber(ARGV[1]) > limit then more = true end
if next(due_left) then
  for i = #due, 1, -1 do
    if not due_left[due[i]] then table.remove(due, i) end
  end
  make_waiting(due)
else
  commit()
end
flush_dropped()
for at, job in pairs(with_extras) do
  redis.call('HDEL', key('h' .. job.arrival), 'p')
  taken[at] = {taken[at], extras(job)}
end
return {NOW, (more or behind) and '1' or '0', taken}
