-- commit: brings records, structures, counters and the event stream in line with the jobs an operation has changed.
-- An operation reads and decides, changes fields of jobs, says touch(job), and commits once at its end: so all its
-- writes come last, and each structure is kept right in this one place. Writes are gathered by key.
-- Jobs that stand alike (lib/job) and change alike are one job here: the first is touched, the others join it. What is to
-- be done is found out for all of them at once, its plan.
-- What is made here at each call costs each call: so there are few functions, and they refer to few things.
local named = {}  -- names of the lists by state and type that jobs of the last plan left and entered; often the next one's

-- What of a job's change is the same for all that joined it.
local function plan_of(job)
  local was, now = job.was, not job.gone and job
  local out, into
  if (was and was.flags >= FILED) or (filing > 0 and now and (now.state == WAITING or in_mode(filing, LIMITED))) then
    out, into = file(job)
  end
  local from, from_score, from_lead, to, to_score, to_lead
  local before, after, type_before = was and was.state, now and now.state, was and was.type
  if was then from, from_score, from_lead = place(was) end
  if now then to, to_score, to_lead = place(now) end
  if before ~= named.before or after ~= named.after or type_before ~= named.type_before or job.type ~= named.type then
    named = {before = before, after = after, type_before = type_before, type = job.type, from = was and field_name(was),
      to = now and field_name(now), bucket = false, lists = false}
    if named.from == named.to then named.from, named.to = nil, nil end
  end
  local same = from == to and from_lead == to_lead
  local meta, tags_out, tags_in, leaves, enters, score, expires, over = meta_of(job), job.old_tags, job.new_tags
  if from and not same then
    leaves = list_of('ZREM', from)
    if not from_lead then stirred[from] = true end  -- of rows of WAITING jobs nothing is known beforehand
  end
  if to and not (same and from_score == to_score) then
    enters, score = list_of('ZADD', to), string.format('%d', to_score)
    if not to_lead then came_into(to, to_score, same) end
  end
  if to == 's' and now.priority ~= 0 then ranked = true end
  if now and now.state >= COMPLETED then
    over = expiry(now)
    expires = list_of('ZADD', 'x')
    came_into('x', over, was and was.state >= COMPLETED)
    over = string.format('%d', over)
  end
  -- Made at once, with room for what most of them have more: a table that grows costs more than all of this.
  local plan = {meta = meta, head = string.sub(meta, 1, HEADER_LEN), from_lead = from_lead, to_lead = to_lead, members = 0,
    leaves = leaves, enters = enters, score = score, expires = expires, expiry = over, named = named,
    listed = named.from or named.to or tags_out or tags_in}
  if tags_out then plan.tags_out = tags_out end
  if tags_in then plan.tags_in = tags_in end
  if out and (out[1] or into[1]) then plan.out, plan.into = out, into end
  if was and was.state >= COMPLETED and not expires then plan.revived, stirred.x = list_of('ZREM', 'x'), true end
  if job.old or has(job, CONDITIONS) then plan_conditions(plan, job, now) end
  job.plan = plan
  return plan
end

--- @rare
local function move_places(plan, arrival)
  for _, list in ipairs(plan.out) do list[#list + 1] = arrival end
  for _, list in ipairs(plan.into) do
    list[#list + 1] = NOW
    list[#list + 1] = arrival
  end
end

-- Takes one job from the rows where it stood, and puts it where it stands now.
local function move(plan, arrival, n, own)
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
  if plan.out then move_places(plan, arrival) end
  if plan.key_leaves or plan.key_enters then move_in_key(plan, arrival, n) end
  if plan.follows then follow(plan, arrival, own) end
end

-- A listing index is a row of sets of BUCKET numbers each. Neighbours in a call are mostly neighbours in a bucket.
local function list_anew(plan, n)
  local slot = n % BUCKET
  local bucket = (n - slot) / BUCKET
  local names = plan.named
  local shared = not (plan.tags_out or plan.tags_in) and names or plan
  if bucket ~= shared.bucket then
    shared.bucket, shared.lists = bucket, {}
    local lists, ending = shared.lists, ':' .. bucket
    if names.from then lists[#lists + 1] = list_of('SREM', names.from .. ending) end
    if names.to then lists[#lists + 1] = list_of('SADD', names.to .. ending) end
    for _, name in ipairs(plan.tags_out or {}) do lists[#lists + 1] = list_of('SREM', name .. ending) end
    for _, name in ipairs(plan.tags_in or {}) do lists[#lists + 1] = list_of('SADD', name .. ending) end
  end
  local text, lists = string.format('%d', slot), shared.lists
  for i = 1, #lists do
    local list = lists[i]
    list[#list + 1] = text
  end
end

-- Lua's unpack and Redis's argument list both end somewhere; 1,000 at a time is far below it.
local function call_many(command, list)
  for i = 1, #list, 1000 do redis.call(command, unpack(list, i, math.min(i + 999, #list))) end
end

local function call_each(command)
  for name, list in pairs(by_key[command] or {}) do
    for i = 1, #list, 1000 do redis.call(command, key(name), unpack(list, i, math.min(i + 999, #list))) end
  end
end

local function flush_index()
  local out, new = by_key.SREM or {}, by_key.SADD or {}
  for name, slots in pairs(out) do
    redis.call('SREM', key('i' .. name), unpack(slots))
    if not new[name] and redis.call('EXISTS', key('i' .. name)) == 0 then
      local row, bucket = string.match(name, '^(.*):(%d+)$')
      redis.call('ZREM', key('r' .. row), bucket)
    end
  end
  for name, slots in pairs(new) do
    local added = redis.call('SADD', key('i' .. name), unpack(slots))
    if redis.call('SCARD', key('i' .. name)) == added then
      local row, bucket = string.match(name, '^(.*):(%d+)$')
      redis.call('ZADD', key('r' .. row), bucket, bucket)
    end
  end
end

-- Counts jobs by state and type; how many more are WAITING now.
local function flush_counts(plans)
  local counts, waiting_by = {}, 0
  for job, plan in pairs(plans) do
    local from, to, by = plan.named.from, plan.named.to, plan.members
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

-- Keeps the queue's word that no SCHEDULED job has a priority: it holds from an empty row on, until one comes that has.
local function flush_ranks()
  if ranked then
    redis.call('HDEL', key('q'), 'flat')
  elseif by_key.ZADD and by_key.ZADD.s and redis.call('EXISTS', key('s')) == 0 then
    redis.call('HSET', key('q'), 'flat', '1')
  end
end

-- Writes what stands out of all touched jobs. A job with `gone` is deleted; one with a body, or payload_new, is written
-- whole.
local function commit()
  if #order == 0 then return end
  filing = read_mode()
  if few or filing > 0 then rare() end
  local plans, records, unlinked, ids_gone = {}, {}, {}, {}
  for i = 1, #order, FIELDS do
    local job, arrival, own, body, result = order[i], order[i + 2], order[i + 3], order[i + 4], order[i + 5]
    local plan, at, gone = job.plan or plan_of(job), key('j' .. arrival), job.gone
    plans[job], plan.members = plan, plan.members + 1
    move(plan, arrival, order[i + 1], own)
    if plan.listed then list_anew(plan, order[i + 1]) end
    if not body and job.payload_new then body = own .. job.payload_new end
    if gone then
      unlinked[#unlinked + 1] = at
      if has(job, OWN_ID) then ids_gone[#ids_gone + 1] = string.sub(own, 3) end
    elseif body then
      local count = #records
      records[count + 1], records[count + 2] = at, plan.meta .. body
    else
      redis.call('SETRANGE', at, '0', plan.head)
    end
    if job.extras_gone or (gone and has(job, HAS_EXTRAS)) then unlinked[#unlinked + 1] = key('h' .. arrival) end
    if job.log_gone or (gone and has(job, HAS_LOG)) then unlinked[#unlinked + 1] = key('l' .. arrival) end
    if not gone and (result or job.extras) then
      local list = list_of('HSET', 'h' .. arrival)
      for field, value in pairs(result and {r = result} or job.extras) do
        list[#list + 1] = field
        list[#list + 1] = value
      end
    end
    if not job.quiet then add_event(job, arrival, own) end
  end
  flush_ranks()
  call_many('UNLINK', unlinked)
  call_many('MSET', records)
  call_each('ZREM')
  call_each('ZADD')
  if next(keyed_rows) or next(let_go) then keep_heads() end
  flush_index()
  if #ids_gone > 0 then redis.call('HDEL', key('d'), unpack(ids_gone)) end
  local list = next(ids_new) and list_of('HSET', 'd')
  for id, arrival in pairs(ids_new) do
    local at = #list
    list[at + 1], list[at + 2] = id, arrival
  end
  call_each('HSET')
  flush_tick(flush_counts(plans))
  touched, order, ids_new, by_key, named, wake, ranked = {}, {}, {}, {}, {}, 0, false
  if next(ended_keys) then
    touch_next_of_keys()
    commit()
  end
end

-- Takes a member out of a row, in which it stands for no such job any more: with the commit, as until then a short script
-- may give up (lib/rare).
local function drop(row, member)
  local list = list_of('ZREM', row)
  list[#list + 1] = member
end

-- The same where the commit had nothing to write.
local function flush_dropped()
  if by_key.ZREM then call_each('ZREM') end
end
