#!lua flags=no-writes
-- explain: what claims would see of jobs, from the rows that claim.lua reads.
-- KEYS[1]  root of the queue
-- ARGV     the ids
-- Returns  {now_ms, paused since or false, {answer, ahead or -1, held, ids} or false, ...}; ids: of one
--          that waits for parents, how many are open, and references (lib/following); ahead: of a job that is due, how
--          many of its type, or of its key where keys have rows of their own, are taken before it; held: {"LIMIT", name,
--          active, max, ms of when it goes on, 0 where a place must become free} | {"TURN", key, turns before it} | false
-- Bounds   of due jobs that nobody has made WAITING yet at most 100 are read; where there are more, ahead is -1
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/tick lib/following lib/key_rows lib/limits lib/levels lib/turns lib/rates lib/hindrances
local unpromoted

-- Due jobs that are not WAITING yet: claims make them so before they lease any. false: too many.
local function due_ones()
  if unpromoted == nil then
    local due = redis.call('ZRANGEBYSCORE', key('s'), '-inf', NOW, 'LIMIT', 0, 101)
    unpromoted = #due <= 100 and {}
    for i = 1, unpromoted and #due or 0 do
      local job = load(struct.unpack('>I6', due[i]))
      if job and job.state == SCHEDULED then unpromoted[#unpromoted + 1] = job end
    end
  end
  return unpromoted
end

local function member_of(job)
  return struct.pack('>I6', job.due) .. job.arrival
end

local function ahead(job)
  if job.held then return -1 end
  if job.state ~= WAITING and not (job.state == SCHEDULED and job.due <= NOW) then return -1 end
  local others = due_ones()
  if not others then return -1 end
  local member = member_of(job)
  local row, score = place(job)
  if job.state ~= WAITING then row, score = 'w' .. job.type, -job.priority end
  local count, one = turn_in_row(row, score, member), {member = member, score = score}
  for _, other in ipairs(others) do
    local before = goes_first({member = member_of(other), score = -other.priority}, one)
    if other.type == job.type and before then count = count + 1 end
  end
  return count
end

-- How many parents of a job are open, and references of the first of them.
local function add_parents(job, said)
  local found, open = redis.call('HGETALL', key('D' .. job.arrival)), {}
  for i = 1, #found, 2 do
    local place, _, how
    if found[i] ~= '' then place, _, how = struct.unpack('>I2I6B', found[i + 1]) end
    if how == OPEN then open[#open + 1] = {place, found[i]} end
  end
  table.sort(open, function(one, other) return one[1] < other[1] end)
  said[#said + 1] = #open
  for i = 1, math.min(#open, EXPLAINED_IDS) do said[#said + 1] = open[i][2] end
  return said
end

-- The job as an answer, what is ahead of it, what holds it back, and ids of jobs of its key that it waits for.
local function outlook(job)
  local said = {answer(job), ahead(job), not job.held and hindrance(job)}
  if job.state == BLOCKED and condition(job, DEPENDS) then return add_parents(job, said) end
  local row = job.state == BLOCKED and key_row(job, job.type)
  if not row then return said end
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', key(row), BAND, BLOCKED_BAND - 1, 'LIMIT', 0, EXPLAINED_IDS)) do
    local other = load((struct.unpack('>I6', one)))
    said[#said + 1] = other and id_of(other) or nil
  end
  return said
end

local queue = redis.call('HMGET', key('q'), 'paused', 'until')
local over = queue[2] and tonumber(queue[2]) <= NOW  -- no claim has looked since
local found = {NOW, not over and queue[1]}
for i = 1, #ARGV do
  local n = find(ARGV[i])
  local job = n and load(n)
  found[#found + 1] = job and outlook(job) or false
end
return found
