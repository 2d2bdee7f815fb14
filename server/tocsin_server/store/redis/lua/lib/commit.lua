-- commit: brings records, structures, counters and the event stream in line with the jobs an operation has changed.
-- An operation reads and decides, changes fields of jobs, says touch(job), and commits once at its end: so all its
-- writes come last, and each structure is kept right in this one place. Writes are gathered by key.
local BUCKET = 256

local function touch(job)
  if not touched[job.n] then
    touched[job.n] = job
    order[#order + 1] = job
  end
  return job
end

-- Adds to the list of a name in a table of lists.
local function push(lists, name, one)
  local list = lists[name]
  if list then list[#list + 1] = one else lists[name] = {one} end
end

-- Where a job of this state stands: key and score; the member is the arrival, of a WAITING job due time and arrival.
local function place(at)
  local state = at.state
  if state == SCHEDULED then return S_KEY, at.due end
  if state == WAITING then return W_KEY .. at.type, -at.priority end
  if state == ACTIVE then return A_KEY, at.lease end
  if state == FAILED then return F_KEY, at.end_ end
  if state >= COMPLETED then return E_KEY, at.end_ end
end

-- Not past the year 9999, where the callers' clocks end: a job that was placed may have ended at any time.
local function expiry(at)
  return math.min(at.end_ + (at.state == FAILED and at.keep_failed or at.keep_done), 253402300799999)
end

local function member(at, arrival)
  if at.state == WAITING then return struct.pack('>I6', at.due) .. arrival end
  return arrival
end

-- Takes a job from where it stood and puts it where it stands now.
local function move(job, was, now, zadd, zrem, changed)
  local from, from_score, from_member, to, to_score, to_member
  if was then
    from, from_score = place(was)
    from_member = member(was, job.arrival)
  end
  if now then
    to, to_score = place(now)
    to_member = member(now, job.arrival)
  end
  local same = from == to and from_member == to_member
  if from and not same then
    push(zrem, from, from_member)
    changed[from] = true
  end
  if to and not (same and from_score == to_score) then
    push(zadd, to, to_score)
    push(zadd, to, to_member)
    changed[to] = true
  end
  if now and now.state >= COMPLETED then
    push(zadd, X_KEY, expiry(now))
    push(zadd, X_KEY, job.arrival)
    changed[X_KEY] = true
  elseif was and was.state >= COMPLETED then
    push(zrem, X_KEY, job.arrival)
    changed[X_KEY] = true
  end
end

-- Lua's unpack and Redis's argument list both end somewhere; 1,000 at a time is far below it.
local function call_each(command, lists)
  for name, list in pairs(lists) do
    for i = 1, #list, 1000 do
      redis.call(command, name, unpack(list, i, math.min(i + 999, #list)))
    end
  end
end

-- The name of the last bucket is kept: neighbours in a call are mostly neighbours in a bucket.
local last_name, last_bucket, last_full
local function index(lists, name, n)
  local slot = n % BUCKET
  local bucket = (n - slot) / BUCKET
  if name ~= last_name or bucket ~= last_bucket then
    last_name, last_bucket, last_full = name, bucket, name .. ':' .. bucket
  end
  push(lists, last_full, slot)
end

local field_names = {}
local function field_name(at)
  local of_state = field_names[at.state]
  if not of_state then
    of_state = {}
    field_names[at.state] = of_state
  end
  local name = of_state[at.type]
  if not name then
    name = at.state .. ':' .. at.type
    of_state[at.type] = name
  end
  return name
end

local function flush_index(adds, rems)
  for name, slots in pairs(rems) do
    redis.call('SREM', I_KEY .. name, unpack(slots))
    if not adds[name] and redis.call('EXISTS', I_KEY .. name) == 0 then
      local row, bucket = string.match(name, '^(.*):(%d+)$')
      redis.call('ZREM', R_KEY .. row, bucket)
    end
  end
  for name, slots in pairs(adds) do
    local added = redis.call('SADD', I_KEY .. name, unpack(slots))
    if redis.call('SCARD', I_KEY .. name) == added then
      local row, bucket = string.match(name, '^(.*):(%d+)$')
      redis.call('ZADD', R_KEY .. row, bucket, bucket)
    end
  end
end

-- Once a minute: drops changes older than EVENTS_AGE_MS, by how many there had been when a minute began.
local function drop_old_events(minute)
  local begun, last, gone = redis.call('HGETALL', key('o')), 0, {}
  for i = 1, #begun, 2 do
    if tonumber(begun[i]) < minute - EVENTS_AGE_MS / 60000 then
      last = math.max(last, tonumber(begun[i + 1]))
      gone[#gone + 1] = begun[i]
    end
  end
  if #gone == 0 then return end
  redis.call('XTRIM', key('v'), 'MINID', '=', string.format('%d-0', last))
  redis.call('HDEL', key('o'), unpack(gone))
end

-- An entry's id is the number of changes up to its end, so that "the last EVENTS_MAX" is a plain minimum.
local function flush_events(events)
  if #events == 0 then return end
  local total = redis.call('HINCRBY', key('q'), 'v', #events)
  changes = total
  redis.call('XADD', key('v'), 'MINID', '=', string.format('%d-0', math.max(total - EVENTS_MAX, 0)),
    string.format('%d-0', total), 'c', total - #events, 'b', table.concat(events))
  local minute = math.floor(NOW / 60000)
  if redis.call('HSETNX', key('o'), minute, total) == 1 then drop_old_events(minute) end
end

-- Writes what stands out of all touched jobs. A job with `gone` is deleted; one with `payload_new` is written whole.
local function commit()
  if #order == 0 then return end
  local zadd, zrem, extras_of, index_adds, index_rems = {}, {}, {}, {}, {}
  local counts, events, changed, waiting_by = {}, {}, {}, 0
  for i = 1, #order do
    local job = order[i]
    local was, now = job.was, not job.gone and job or nil
    move(job, was, now, zadd, zrem, changed)
    if not (was and now and was.state == now.state and was.type == now.type) then
      if was then
        local from = field_name(was)
        index(index_rems, from, job.n)
        counts[from] = (counts[from] or 0) - 1
        if was.state == WAITING then waiting_by = waiting_by - 1 end
      end
      if now then
        local to = field_name(now)
        index(index_adds, to, job.n)
        counts[to] = (counts[to] or 0) + 1
        if now.state == WAITING then wake, waiting_by = 1, waiting_by + 1 end
      end
    end
    if job.old_tags then
      for _, name in ipairs(job.old_tags) do index(index_rems, name, job.n) end
    end
    if job.new_tags then
      for _, name in ipairs(job.new_tags) do index(index_adds, name, job.n) end
    end
    local at, meta = J_KEY .. job.arrival, job.meta or header(job) .. job.rest
    if not now then
      redis.call('UNLINK', at, H_KEY .. job.arrival)
    elseif job.payload_new then
      redis.call('SET', at, meta .. job.payload_new)
    else
      redis.call('SETRANGE', at, 0, string.sub(meta, 1, HEADER_LEN))
    end
    if now and job.extras_gone then redis.call('UNLINK', H_KEY .. job.arrival) end
    if now and job.extras then
      for field, value in pairs(job.extras) do
        push(extras_of, H_KEY .. job.arrival, field)
        push(extras_of, H_KEY .. job.arrival, value)
      end
      job.extras = false
    end
    if not job.quiet then
      events[#events + 1] = struct.pack('>BI6I4', now and 0 or 1, job.n, #meta) .. meta
    end
  end
  call_each('ZREM', zrem)
  call_each('ZADD', zadd)
  call_each('HSET', extras_of)
  flush_index(index_adds, index_rems)
  for name, by in pairs(counts) do
    if by ~= 0 and redis.call('HINCRBY', key('n'), name, by) == 0 then redis.call('HDEL', key('n'), name) end
  end
  flush_events(events)
  flush_tick(changed, waiting_by)
  touched, order, wake = {}, {}, 0
end
