#!lua flags=allow-oom
-- claim_limited: claim, of a queue that has limits, shared ones too, whose keys take turns, or whose jobs gain priority.
-- KEYS[1]  root of the queue
-- ARGV     as of claim; 4 may go on with a blank and the version of a grant (store/shared_limit_store.py)
-- Returns  as claim, with a grant the queue's word, too; {now_ms, "N", {}} where the queue has no limits any more: claim
--          from it; {now_ms, "S", {}} where it has shared ones and no grant came, {now_ms, "V", {}} where it refuses it
-- Events   as of claim; due jobs are made WAITING first
-- Bounds   leases at most 50 and 1 MiB a call; makes 50 due jobs WAITING, parks and opens some 100 rows of keys
-- Why one script: a limit is exact over all servers, for what is counted and what is leased is one step.
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/full lib/resume lib/promote lib/repeats lib/rates lib/rooms lib/refiling lib/candidates lib/telling
local limit, lease_ms, request = math.min(tonumber(ARGV[1]), 50), tonumber(ARGV[2]), ARGV[3]
local taken, bytes, more = {}, 0, false
announce = false

if read_grant(ARGV[4]) then taken = leased_before(request) end
if #taken > 0 then return said(true, taken) end

local queue = redis.call('HMGET', key('q'), 'paused', 'flat', 'limits', 'halted', 'until', 'shared')
local refused = refusal(queue[3], queue[6])
if refused then return {NOW, refused, {}} end
queue[3] = queue[3] or string.rep('\0', 5)
if queue[5] then queue[1] = still_paused(queue[1], queue[5]) end
local limits, generation = read_limits(queue[3]), struct.unpack('>I4', queue[3], 2)
for _, one in ipairs(limits) do one.halts = tonumber(queue[4] or 0) > NOW end
if strict_limits() then comes = judge_due end
local due = redis.call('ZRANGEBYSCORE', key('s'), '-inf', NOW, 'LIMIT', 0, 51)
local behind = #due > 50
due[51] = nil
if #due > 0 then make_waiting(due) end
filing = read_mode()
local left, fetch = wanted_of(limit)
more = go_on(left)
if queue[1] or (behind and not queue[2]) then
  if next(stirred) or wake > 0 then flush_tick(0) end
  return said(behind or more, {})
end
if in_mode(filing, REFILING) and refile(queue[3], generation) then more = true end
local fair = in_mode(filing, FAIR)
by_age = not fair and ageing_step()
limit = room_of_all(limits, left, limit)
for type in pairs(left) do
  local size = limit > 0 and math.min(left[type], fetch) or 0
  read_row(heads_of(type), type, true, size, left[type])
  if not fair then read_row('w' .. type, type, false, size, left[type]) end
end
if rows_read > 1 then table.sort(heads, is_before) end

local turn, turns = false, false
if fair then turn, turns = unpack(redis.call('HMGET', key('q'), 'turn', 'turns')) end  -- jobs that came due have tags by now
turn, turns = tonumber(turn or 0), tonumber(turns or 0)
local refiled = false

-- What comes after a job of a key: its next one, or nothing before the key has room again.
local function go_on_with(one, k, job)
  local name = 'w' .. one.type .. ':' .. k
  local row = begun[name] or {type = one.type, key = k, head = string.sub(one.member, -12), count = 0,
    member = one.from and one.member, settled = false, next = false, named = false}
  begun[name], row.count, row.settled, row.next = row, row.count + 1, false, false
  if fair then
    turn, turns = math.max(turn, one.score), turns + 1  -- the tag of a key that could not begin for a while is old
    tags[k] = {turn + share(job), turns, row}
  end
  local room, till = room_of_key(limits, one.type, k)
  if room > 0 then
    local member, score = behind_begun(row, name, one)
    if member then
      if fair then member, score = struct.pack('>I6', turns) .. member, tags[k][1] end
      one.member, one.score, one.from, one.job, one.body = member, score, false, false, false  -- no other table: it has begun
      row.next = one
      put_in(one)
    end
    row.settled = row.member
  elseif redis.call('ZCARD', key(name)) > row.count then
    park(one.type, k, row.head, generation, till)
  end
end

local function lease(one, job, body, k)
  local keeps_place = job.ends == 1
  take_room(limits, one.type, k, keeps_place)
  job.state, job.attempt, job.start = ACTIVE, job.attempt + 1, NOW
  job.ends, job.token = NOW + lease_ms, request
  if not in_mode(filing, LIMITED) then clear_flag(job, FILED) end  -- as it will be, so that its record is made once
  if has(job, HAS_EXTRAS) then redis.call('HDEL', key('h' .. job.arrival), 'p') end
  changed(job)
  left[one.type] = left[one.type] - 1
  local record, beside = job.arrival .. meta_of(job) .. body, extras(job)
  taken[#taken + 1] = beside and {record, beside} or record
  if one.keyed then go_on_with(one, k, job) end
end

-- Leases a candidate, or parks its key, or files the job by its key first. True: no more fits in the answer.
local function consider(one)
  local job, body = one.job, one.body
  if job == 'none' or touched[job.n] or job.state ~= WAITING or job.type ~= one.type then
    redis.call('ZREM', key(one.from and one.from.name or heads_of(one.type)), one.member)
    return
  end
  refiled = expired(job) or refiled
  local k = job.key or condition(job, LIMIT_KEY) or ''
  if job.state == WAITING and not one.keyed and k ~= '' and in_mode(filing, KEYED) then
    job.quiet, refiled = true, true
    touch(job)
    return
  end
  if refiled then return end
  if fair and one.keyed then
    local tag, given = moved_on(one, k)
    if tag then  -- it had a turn with another type
      if one.from and not tags[k] then reopen(one.type, k) end
      put_in({member = given .. string.sub(one.member, -12), score = tag, type = one.type, keyed = true})
      return
    end
  end
  local room, till = NO_LIMIT, nil
  if k ~= '' then room, till = room_of_key(limits, one.type, k, job.ends == 1) end
  if room <= 0 then
    local row = begun['w' .. one.type .. ':' .. k]
    if row then row.settled = false end
    park(one.type, k, row and row.head or string.sub(one.member, -12), generation, till)
    return
  end
  bytes = bytes + #body
  if bytes > 1048576 and #taken > 0 then return true end
  lease(one, job, body, k)
end

while #taken < limit and at <= #heads do
  local one, from = heads[at], heads[at].from
  if left[one.type] > 0 and not one.job then read_jobs(fair and limit - #taken or 1) end
  at = at + 1
  if left[one.type] > 0 then
    if from then read_on(one) end
    if consider(one) or (from and read_up(from) and left[one.type] > 0) then
      more = true
      break
    end
  end
end
if refiled or behind or (#taken == 50 and tonumber(ARGV[1]) > 50) then more = true end

if next(tags) then write_tags(turn, turns, not refiled) end
if not refiled then settle_heads() end  -- else a job that comes into its row may be the first there
local waits = full_now(limits, left)
commit()
flush_rates_of_limits()
wait_for(waits)
if next(stirred) or wanted or wake > 0 or new_mode then flush_tick(0) end
return said(more, taken)
