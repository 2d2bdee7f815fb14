#!lua flags=no-writes
-- page: one page of the jobs that match a filter.
-- KEYS[1]  root of the queue
-- ARGV     1 "NEWEST" | "SOONEST" | 2 limit | 3 skip | 4 after this arrival, -1 from the start | 5 and this due_ms |
--          6 "1" with payloads | 7 tests >Bi4i4I6I6I6I6I6I6: are there any, priority from, to, due from, before,
--          created from, before, ended from, before | 8 records to inspect at most | 9 bytes to answer at most |
--          10 how many states, the states | how many types, the types | tags, "#name=value"
-- Returns  {{answer, ...}, next arrival or -1, next due_ms, skip left, HGETALL of the counters}
-- Bounds   as ARGV 8 and 9; buckets of 256 arrivals are walked newest first
--- @include lib/keys lib/conditions lib/rare lib/job
local limit, skip, after, after_due = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local inspect, room = tonumber(ARGV[8]), tonumber(ARGV[9])
local tested, p_from, p_to, due_from, due_to, made_from, made_to, end_from, end_to =
  struct.unpack('>Bi4i4I6I6I6I6I6I6', ARGV[7])

local at = 10
local function read_list(convert)
  local list, set = {}, {}
  for i = 1, tonumber(ARGV[at]) do
    list[i] = convert(ARGV[at + i])
    set[list[i]] = true
  end
  at = at + #list + 1
  return list, set
end
local states, state_set = read_list(tonumber)
local types, type_set = read_list(tostring)
local wanted_tags = {}
for i = at, #ARGV do wanted_tags[#wanted_tags + 1] = ARGV[i] end

local function matches(job)
  if #states > 0 and not state_set[job.state] then return false end
  if #types > 0 and not type_set[job.type] then return false end
  if job.priority < p_from or job.priority > p_to or job.due < due_from or job.due >= due_to then return false end
  if job.create < made_from or job.create >= made_to then return false end
  if (end_from > 0 or end_to < 281474976710655) and not ended(job.state) then return false end
  if ended(job.state) and (job.ends < end_from or job.ends >= end_to) then return false end
  if #wanted_tags == 0 then return true end
  local borne = {}
  for _, name in ipairs(tags(job)) do borne[name] = true end
  for _, name in ipairs(wanted_tags) do
    if not borne[name] then return false end
  end
  return true
end

local out, last_n, last_due, more = {}, after, after_due, false

-- Takes a candidate; false where the page is full and it was left.
local function take(n, by_index)
  if by_index and skip > 0 then
    skip, last_n = skip - 1, n
    return true
  end
  if #out == limit or inspect == 0 or room <= 0 then
    more = true
    return false
  end
  inspect = inspect - 1
  local job = ARGV[6] == '1' and load_full(n) or ARGV[6] ~= '1' and load(n)
  last_n, last_due = n, job and job.due or last_due
  if job and matches(job) then
    if skip > 0 then
      skip = skip - 1
    else
      out[#out + 1] = answer(job)
      room = room - (type(out[#out]) == 'table' and #out[#out][1] or #out[#out])
    end
  end
  return true
end

-- Names of the indexes whose union holds every match, and whether they hold nothing else.
local function names()
  if #wanted_tags > 0 then return {wanted_tags[1]}, #wanted_tags == 1 and #states + #types == 0 and tested == 0 end
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', key('n'))) do
    local state, type = tonumber(string.sub(field, 1, 1)), string.sub(field, 3)
    if (#states == 0 or state_set[state]) and (#types == 0 or type_set[type]) then found[#found + 1] = field end
  end
  return found, tested == 0
end

local function newest()
  local rows, by_index = names()
  local top = {}
  local function seek(name, below)
    local bucket = redis.call('ZREVRANGEBYSCORE', key('r' .. name), below, '-inf', 'LIMIT', 0, 1)
    top[name] = bucket[1] and tonumber(bucket[1]) or -1
  end
  local start = after >= 0 and string.format('%d', math.floor((after - 1) / 256)) or '+inf'
  for _, name in ipairs(rows) do seek(name, start) end
  while true do
    local bucket = -1
    for _, name in ipairs(rows) do bucket = math.max(bucket, top[name]) end
    if bucket < 0 then return end
    local slots = {}
    for _, name in ipairs(rows) do
      if top[name] == bucket then
        for _, slot in ipairs(redis.call('SMEMBERS', key('i' .. name .. ':' .. bucket))) do
          slots[#slots + 1] = tonumber(slot)
        end
        seek(name, string.format('%d', bucket - 1))
      end
    end
    table.sort(slots, function(a, b) return a > b end)
    for _, slot in ipairs(slots) do
      local n = bucket * 256 + slot
      if (after < 0 or n < after) and not take(n, by_index) then return end
    end
  end
end

-- Rank of the first SCHEDULED job after (due, arrival): those due at the same time stand by arrival.
local function rank_after(due, n)
  local low = redis.call('ZCOUNT', key('s'), '-inf', '(' .. string.format('%d', due))
  local high = low + redis.call('ZCOUNT', key('s'), due, due)
  local member = arrival6(n)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', key('s'), middle, middle)[1] > member then high = middle else low = middle + 1 end
  end
  return low
end

local function soonest()
  local by_index = tested == 0 and #types == 0 and #wanted_tags == 0
  local rank = after >= 0 and rank_after(after_due, after) or 0
  if by_index then rank, skip = rank + skip, 0 end
  while true do
    local members = redis.call('ZRANGE', key('s'), rank, rank + 99, 'WITHSCORES')
    for i = 1, #members, 2 do
      if not take(struct.unpack('>I6', members[i]), false) then return end
      last_due = tonumber(members[i + 1])
    end
    if #members < 200 then return end
    rank = rank + 100
  end
end

if ARGV[1] == 'SOONEST' then soonest() else newest() end
return {out, more and last_n or -1, last_due, skip, redis.call('HGETALL', key('n'))}
