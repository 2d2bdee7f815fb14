-- mend: holds one key, or one record, against the jobs' records, and mends what differs; counts it in `mended`.
local OF_NO_JOB = {h = 'errors and results of no job', l = 'logs of no job', D = 'parents of no job'}

local function key_score(job)
  return string.format('%d', key_band(job.state) + job.n)
end

local function belongs(job, name)
  if name == field_name(job) then return true end
  for _, tag in ipairs(tags(job)) do
    if tag == name then return true end
  end
  return false
end

-- Where the write changes nothing it tells so, and costs the log and the replicas nothing.
local function listed(name, n)
  local bucket = math.floor(n / BUCKET)
  local added = redis.call('SADD', key('i' .. name .. ':' .. bucket), n % BUCKET)
  added = added + redis.call('ZADD', key('r' .. name), 'CH', bucket, bucket)
  if added > 0 then
    mend('jobs that no list showed', 1)
    recount[name] = true
  end
end

local function check_record(n)
  local job = load(n)
  left = left - 1
  if not job then return end
  highest = math.max(highest, n)
  check_filing(job)
  local row, score = place(job)
  local put = row and redis.call('ZADD', key(row), 'CH', score, member(job)) or 0
  if put > 0 and job.state == WAITING then wake = 1 end
  local over, of_key = begin_by(job) or (ended(job.state) and expiry(job)), key_row(job, job.type)
  if over then put = put + redis.call('ZADD', key('x'), 'CH', over, job.arrival) end
  if job.state == BLOCKED and condition(job, DEPENDS) then
    put = put + redis.call('ZADD', key('O'), 'NX', NOW, job.arrival)
  end
  if of_key then put = put + redis.call('ZADD', key(of_key), 'CH', key_score(job), job.arrival) end
  mend('jobs out of the row of their state', math.min(put, 1))
  listed(field_name(job), n)
  for _, tag in ipairs(tags(job)) do listed(tag, n) end
  if not has(job, OWN_ID) then return end
  local id = id_of(job)
  local known = redis.call('HGET', key('d'), id)
  local other = known and known ~= job.arrival and load(struct.unpack('>I6', known))
  if known ~= job.arrival and not (other and other.own == job.own) then
    redis.call('HSET', key('d'), id, job.arrival)
    mend('ids that led to no job', 1)
  end
end

local function check_bucket(suffix)
  local name, bucket = string.match(suffix, '^i(.*):(%d+)$')
  for _, slot in ipairs(redis.call('SMEMBERS', key(suffix))) do
    local job = load(bucket * BUCKET + slot)
    left = left - 1
    if not (job and belongs(job, name)) then
      mend('entries of lists without their job', redis.call('SREM', key(suffix), slot))
      recount[name] = true
    end
  end
end

-- The buckets of a list that are in use; of a (state, type) they say how many jobs there are.
local function check_list(name)
  local sum = 0
  for _, bucket in ipairs(redis.call('ZRANGE', key('r' .. name), 0, -1)) do
    local size = redis.call('SCARD', key('i' .. name .. ':' .. bucket))
    if size == 0 then mend('empty parts of lists', redis.call('ZREM', key('r' .. name), bucket)) end
    sum, left = sum + size, left - 0.1
  end
  if not string.match(name, '^[1-7]:') then return end
  local known = redis.call('HGET', key('n'), name)
  if tonumber(known or 0) == sum then return end
  if sum == 0 then redis.call('HDEL', key('n'), name) else redis.call('HSET', key('n'), name, sum) end
  mend('wrong counters', 1)
end

local function check_row(suffix, start)
  local members, kind = redis.call('ZRANGE', key(suffix), start, start + 99), string.sub(suffix, 1, 1)
  for _, one in ipairs(members) do
    local job, row = load(struct.unpack('>I6', one, #one - 5)), nil
    if job and kind == 'x' then row = (ended(job.state) or begin_by(job)) and 'x' end
    if job and kind == 'K' then row = key_row(job, job.type) end
    if job and not row then row = kind ~= 'x' and kind ~= 'K' and place(job) end
    if row ~= suffix or one ~= ((kind == 'x' or kind == 'K') and job.arrival or member(job)) then
      note_row_of(suffix)
      mend('entries of rows without their job', redis.call('ZREM', key(suffix), one))
      start = start - 1
    end
  end
  left = left - #members
  return #members == 100 and start + 100 or nil
end

local function check_counters(start)
  local names = redis.call('HKEYS', key('n'))
  for i = start + 1, math.min(start + 100, #names) do check_list(names[i]) end
  left = left - 100
  return start + 100 < #names and start + 100 or nil
end

-- Checks one key; the place where to go on in it, nil where it is done.
local function check(suffix, start)
  local kind = string.sub(suffix, 1, 1)
  left = left - 1
  if kind == 'j' then return check_record(struct.unpack('>I6', suffix, 2)) end
  if kind == 'i' then return check_bucket(suffix) end
  if kind == 'r' then return check_list(string.sub(suffix, 2)) end
  if kind == 'n' then return check_counters(start) end
  if kind == 'c' then return check_places(suffix) end
  if string.find('saefxwK', kind, 1, true) then return check_row(suffix, start) end
  if (kind == 'h' or kind == 'l' or kind == 'D') and redis.call('EXISTS', key('j' .. string.sub(suffix, 2))) == 0 then
    mend(OF_NO_JOB[kind], redis.call('UNLINK', key(suffix)))
  end
end

-- Numbers are never given twice: not those of the jobs that stand, nor those of the changes that are kept.
local function check_head()
  local known = redis.call('HMGET', key('q'), 'n', 'v')
  local last = redis.call('XREVRANGE', key('v'), '+', '-', 'COUNT', 1)
  local changed_to = last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
  for field, at_least in pairs({n = {highest, known[1]}, v = {changed_to, known[2]}}) do
    if tonumber(at_least[2] or 0) < at_least[1] then
      redis.call('HSET', key('q'), field, string.format('%d', at_least[1]))
      mend('wrong counters', 1)
    end
  end
  redis.call('HSETNX', key('q'), 'epoch', string.sub(redis.sha1hex(ROOT .. NOW), 1, 16))
end

local function check_tick()
  local old = redis.call('GET', key('k')) or ''
  if #old ~= TICK_LEN then old = string.rep('\0', TICK_LEN) end  -- as of a queue that never had a job
  local wakes, _, _, _, _, seen, minute = struct.unpack(TICK, old)
  local new = struct.pack(TICK, wakes + wake, earliest('s'), earliest('a'), earliest('x'), count_waiting(), seen, minute,
    earliest('y'), earliest('p'), earliest('O'), filing)
  if new == old then return end
  redis.call('SET', key('k'), new)
  mend('wrong clocks', 1)
  publish(1, 0)
  if earliest('s') > 0 then publish(2, earliest('s')) end
end
