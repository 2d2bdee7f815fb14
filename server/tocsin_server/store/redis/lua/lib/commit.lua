-- commit: brings records, structures, counters and the event stream in line with the jobs an operation has changed.
-- An operation reads and decides, changes fields of jobs, says touch(job), and commits once at its end: so all its
-- writes come last, and each structure is kept right in this one place. Writes are gathered by key.
-- Jobs that stand alike (lib/job) and change alike are one job here: the first is touched, the others join it. What is to
-- be done is found out for all of them at once, its plan.
local order, numbers, arrivals, owns, bodies, results = {}, {}, {}, {}, {}, {}  -- of each job changed, in order
local ids_new, ids_gone = {}, {}
local by_key = {ZADD = {}, ZREM = {}, SADD = {}, SREM = {}, HSET = {}}

-- One more job that stood as `job` did and now stands as it does. body: own and payload of one to be written whole;
-- result: of one that has one, as an extra.
local function join(job, n, arrival, own, body, result)
  local i = #order + 1
  order[i], numbers[i], arrivals[i], owns[i], bodies[i], results[i] = job, n, arrival, own, body or false, result or false
  touched[n] = job
end

local function touch(job)
  if not touched[job.n] then join(job, job.n, job.arrival, job.own) end
  return job
end

-- The list of what goes with a command to a key.
local function list_of(command, name)
  local lists = by_key[command]
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  return list
end

-- What of a job's change is the same for all that joined it.
local function plan_of(job)
  local was, now = job.was, not job.gone and job
  local from, from_score, from_lead, to, to_score, to_lead
  if was then from, from_score, from_lead = place(was) end
  if now then to, to_score, to_lead = place(now) end
  local same = from == to and from_lead == to_lead
  local plan = {meta = meta_of(job), from_lead = from_lead, to_lead = to_lead, tags_out = job.old_tags, tags_in = job.new_tags,
    members = 0}
  plan.head = string.sub(plan.meta, 1, HEADER_LEN)
  if from and not same then plan.leaves = list_of('ZREM', from) end
  if to and not (same and from_score == to_score) then
    plan.enters, plan.score = list_of('ZADD', to), string.format('%d', to_score)
  end
  if now and ended(now.state) then
    plan.expires, plan.expiry = list_of('ZADD', X_KEY), string.format('%d', expiry(now))
  elseif was and ended(was.state) then
    plan.revived = list_of('ZREM', X_KEY)
  end
  local from_name, to_name = was and field_name(was), now and field_name(now)
  if from_name ~= to_name then plan.from_name, plan.to_name = from_name, to_name end
  job.plan = plan
  return plan
end

local function move(plan, arrival)
  local list = plan.leaves
  if list then list[#list + 1] = plan.from_lead and plan.from_lead .. arrival or arrival end
  list = plan.enters
  if list then
    local at = #list
    list[at + 1], list[at + 2] = plan.score, plan.to_lead and plan.to_lead .. arrival or arrival
  end
  list = plan.expires
  if list then
    local at = #list
    list[at + 1], list[at + 2] = plan.expiry, arrival
  end
  list = plan.revived
  if list then list[#list + 1] = arrival end
end

-- A listing index is a row of sets of BUCKET numbers each. Neighbours in a call are mostly neighbours in a bucket.
local function list_anew(plan, n)
  local slot = n % BUCKET
  local bucket = (n - slot) / BUCKET
  if bucket ~= plan.bucket then
    plan.bucket = bucket
    plan.list_out = plan.from_name and list_of('SREM', plan.from_name .. ':' .. bucket)
    plan.list_in = plan.to_name and list_of('SADD', plan.to_name .. ':' .. bucket)
  end
  local text = string.format('%d', slot)
  local list = plan.list_out
  if list then list[#list + 1] = text end
  list = plan.list_in
  if list then list[#list + 1] = text end
  for _, name in ipairs(plan.tags_out or {}) do
    list = list_of('SREM', name .. ':' .. bucket)
    list[#list + 1] = text
  end
  for _, name in ipairs(plan.tags_in or {}) do
    list = list_of('SADD', name .. ':' .. bucket)
    list[#list + 1] = text
  end
end

local function gather_extras(arrival, fields)
  local list = list_of('HSET', H_KEY .. arrival)
  for field, value in pairs(fields) do
    list[#list + 1] = field
    list[#list + 1] = value
  end
end

-- Lua's unpack and Redis's argument list both end somewhere; 1,000 at a time is far below it.
local function call_each(command)
  for name, list in pairs(by_key[command]) do
    for i = 1, #list, 1000 do
      redis.call(command, name, unpack(list, i, math.min(i + 999, #list)))
    end
  end
end

local function flush_index()
  for name, slots in pairs(by_key.SREM) do
    redis.call('SREM', I_KEY .. name, unpack(slots))
    if not by_key.SADD[name] and redis.call('EXISTS', I_KEY .. name) == 0 then
      local row, bucket = string.match(name, '^(.*):(%d+)$')
      redis.call('ZREM', R_KEY .. row, bucket)
    end
  end
  for name, slots in pairs(by_key.SADD) do
    local added = redis.call('SADD', I_KEY .. name, unpack(slots))
    if redis.call('SCARD', I_KEY .. name) == added then
      local row, bucket = string.match(name, '^(.*):(%d+)$')
      redis.call('ZADD', R_KEY .. row, bucket, bucket)
    end
  end
end

local function flush_ids()
  if #ids_gone > 0 then redis.call('HDEL', key('d'), unpack(ids_gone)) end
  local list = {}
  for id, arrival in pairs(ids_new) do
    list[#list + 1] = id
    list[#list + 1] = arrival
  end
  if #list > 0 then redis.call('HSET', key('d'), unpack(list)) end
end

-- Counts jobs by state and type; how many more are WAITING now.
local function flush_counts(plans)
  local counts, waiting_by = {}, 0
  for job, plan in pairs(plans) do
    local from, to, by = plan.from_name, plan.to_name, plan.members
    if from then counts[from] = (counts[from] or 0) - by end
    if to then counts[to] = (counts[to] or 0) + by end
    if from and job.was.state == WAITING then waiting_by = waiting_by - by end
    if to and job.state == WAITING then wake, waiting_by = 1, waiting_by + by end
  end
  for name, by in pairs(counts) do
    if by ~= 0 and redis.call('HINCRBY', key('n'), name, by) == 0 then redis.call('HDEL', key('n'), name) end
  end
  return waiting_by
end

-- Writes what stands out of all touched jobs. A job with `gone` is deleted; one with a body, or payload_new, is written
-- whole.
local function commit()
  if #order == 0 then return end
  local plans, records, unlinked = {}, {}, {}
  for i = 1, #order do
    local job, n, arrival, own = order[i], numbers[i], arrivals[i], owns[i]
    local plan = job.plan or plan_of(job)
    plans[job], plan.members = plan, plan.members + 1
    move(plan, arrival)
    if plan.from_name or plan.to_name or plan.tags_out or plan.tags_in then list_anew(plan, n) end
    local at, body = J_KEY .. arrival, bodies[i] or job.payload_new and own .. job.payload_new
    if job.gone then
      unlinked[#unlinked + 1] = at
      if has(job, OWN_ID) then ids_gone[#ids_gone + 1] = string.sub(own, 3) end
    elseif body then
      records[#records + 1] = at
      records[#records + 1] = plan.meta .. body
    else
      redis.call('SETRANGE', at, '0', plan.head)
    end
    if job.extras_gone or (job.gone and has(job, HAS_EXTRAS)) then unlinked[#unlinked + 1] = H_KEY .. arrival end
    if results[i] then gather_extras(arrival, {r = results[i]}) end
    if job.extras and not job.gone then gather_extras(arrival, job.extras) end
    if not job.quiet then add_event(job, arrival, own) end
  end
  for i = 1, #unlinked, 1000 do redis.call('UNLINK', unpack(unlinked, i, math.min(i + 999, #unlinked))) end
  for i = 1, #records, 1000 do redis.call('MSET', unpack(records, i, math.min(i + 999, #records))) end
  call_each('ZREM')
  call_each('ZADD')
  call_each('HSET')
  flush_index()
  flush_ids()
  local waiting_by = flush_counts(plans)
  flush_tick(flush_events(), waiting_by, by_key.ZADD, by_key.ZREM)
  touched, order, numbers, arrivals, owns, bodies, results = {}, {}, {}, {}, {}, {}, {}
  by_key = {ZADD = {}, ZREM = {}, SADD = {}, SREM = {}, HSET = {}}
  ids_new, ids_gone, wake = {}, {}, 0
end
