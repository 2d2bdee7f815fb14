#!lua flags=no-writes
-- explain: what claims would see of jobs, from the rows that claim.lua reads.
-- KEYS[1]  root of the queue
-- ARGV     the ids
-- Returns  {now_ms, paused since or false, {answer, ahead or -1, ids} or false, ...}; ahead: of a job that is due, how many
--          of its type are taken before it; ids: of jobs that a BLOCKED one waits for
-- Bounds   of due jobs that nobody has made WAITING yet at most 100 are read; where there are more, ahead is -1
--- @include lib/keys lib/clock lib/job lib/conditions lib/ids lib/rows
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

-- How many members of a row come before this one of this score, which need not stand there: equal scores sort by bytes.
-- Not by ZRANK: it is not among the commands that users of older servers are allowed.
local function rank(row, score, member)
  local low = redis.call('ZCOUNT', row, '-inf', '(' .. score)
  local high = low + redis.call('ZCOUNT', row, score, score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', row, middle, middle)[1] < member then low = middle + 1 else high = middle end
  end
  return low
end

local function member_of(job)
  return struct.pack('>I6', job.due) .. job.arrival
end

local function ahead(job)
  if job.flags >= HELD then return -1 end
  if job.state ~= WAITING and not (job.state == SCHEDULED and job.due <= NOW) then return -1 end
  local others = due_ones()
  if not others then return -1 end
  local member = member_of(job)
  local count = rank(key('w' .. job.type), string.format('%d', -job.priority), member)
  for _, other in ipairs(others) do
    local before = other.priority > job.priority or (other.priority == job.priority and member_of(other) < member)
    if other.type == job.type and before then count = count + 1 end
  end
  return count
end

-- The job as an answer, what is ahead of it, and the ids of jobs of its key that it waits for.
local function outlook(job)
  local said, row = {answer(job), ahead(job)}, job.state == BLOCKED and key_row(job, job.type)
  if not row then return said end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key(row), BAND, BLOCKED_BAND - 1, 'LIMIT', 0, EXPLAINED_IDS)) do
    local other = load(struct.unpack('>I6', member))
    said[#said + 1] = other and id_of(other) or nil
  end
  return said
end

local found = {NOW, redis.call('HGET', key('q'), 'paused')}
for i = 1, #ARGV do
  local n = find(ARGV[i])
  local job = n and load(n)
  found[#found + 1] = job and outlook(job) or false
end
return found
