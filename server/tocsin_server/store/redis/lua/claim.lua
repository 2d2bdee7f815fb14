#!lua flags=allow-oom
-- claim: lease up to N due jobs of one queue, best first.
-- KEYS[1]  root of the queue
-- ARGV     1 limit | 2 lease_ms | 3 request, 8 bytes, the token of each lease granted | 4 "1": the request may have been
--          made before | then type, how many of it at most, ...
-- Returns  {now_ms, "1" if the caller should claim again at once, {answer, ...}}
-- Events   one a job that was made WAITING, and one a job that was leased
-- Clock    the server's; no caller's time comes in
-- Bounds   makes at most 50 WAITING, leases at most 50 and 1 MiB a call
-- Why one script: a crash between taking and leasing would lose the job.
--- @include lib/keys lib/clock lib/job lib/rows lib/events lib/tick lib/commit lib/transitions lib/promote
local limit, lease_ms, request = math.min(tonumber(ARGV[1]), 50), tonumber(ARGV[2]), ARGV[3]
local taken, bytes, more = {}, 0, false
announce = false  -- what becomes WAITING here was due, and who waits for it has a timer of its own

-- A repeat: what this request has leased already. ACTIVE jobs are few, and repeats rare.
if ARGV[4] == '1' then
  for _, member in ipairs(redis.call('ZRANGE', key('a'), 0, -1)) do
    local job = load(struct.unpack('>I6', member))
    if job and job.token == request then taken[#taken + 1] = answer(load_full(job.n)) end
  end
  if #taken > 0 then return {NOW, '1', taken} end
end
if promote(50) then return {NOW, '1', taken} end
if redis.call('HEXISTS', key('q'), 'paused') == 1 then return {NOW, '0', taken} end

-- The head of each type's row, as much of it as this call can need; `left` is how many of the type may be taken.
local rows, fetch = {}, limit
if #ARGV > 24 then fetch = math.max(4, math.ceil(2 * limit / ((#ARGV - 4) / 2))) end
for i = 5, #ARGV, 2 do
  local left = math.min(tonumber(ARGV[i + 1]), limit)
  local size = math.min(left, fetch)
  if size > 0 then
    local row = redis.call('ZRANGE', key('w' .. ARGV[i]), 0, size - 1, 'WITHSCORES')
    if #row > 0 then
      rows[#rows + 1] = {type = ARGV[i], row = row, at = 1, left = left, cut = size < left and #row == 2 * size}
    end
  end
end

local function best()
  local found, score, member
  for i = 1, #rows do
    local r = rows[i]
    if r.at <= #r.row then
      local s, m = tonumber(r.row[r.at + 1]), r.row[r.at]
      if not found or s < score or (s == score and m < member) then found, score, member = r, s, m end
    end
  end
  return found, member
end

local alike = {}  -- by meta: a job that stood so, and what it is now

local function lease(job)
  job.state, job.attempt, job.start = ACTIVE, job.attempt + 1, NOW
  job.ends, job.token = NOW + lease_ms, request
  if has(job, HAS_EXTRAS) then redis.call('HDEL', key('h' .. job.arrival), 'p') end  -- the last attempt's
  changed(job)
end

while #taken < limit do
  local r, member = best()
  if not r then break end
  r.at = r.at + 2
  local arrival = string.sub(member, 7)
  local n, meta, own, body = struct.unpack('>I6', arrival), read_full(arrival)
  local job = meta and alike[meta]
  if meta and not job then
    job = job_of(n, arrival, meta, own)
    if job.state ~= WAITING or job.type ~= r.type then job = nil end
  end
  if job then
    bytes = bytes + #body
    if bytes > 1048576 and #taken > 0 then
      more = true
      break
    end
    if alike[meta] then
      join(job, n, arrival, own)
    else
      lease(job)
      if not has(job, HAS_EXTRAS) then alike[meta] = job end
    end
    local record, beside = arrival .. meta_of(job) .. body, not alike[meta] and extras(job)
    taken[#taken + 1] = beside and {record, beside} or record
  else
    redis.call('ZREM', key('w' .. r.type), member)
  end
  if r.at > #r.row and r.cut then
    -- What stands next in this row was not read; a lesser job of another type must not go before it.
    more = true
    break
  end
end
if #taken == limit and tonumber(ARGV[1]) > limit then more = true end
commit()
return {NOW, more and '1' or '0', taken}
