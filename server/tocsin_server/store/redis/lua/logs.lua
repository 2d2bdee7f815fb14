#!lua flags=no-writes
-- logs: lines that a job's attempts wrote.
-- KEYS[1]  root of the queue
-- ARGV     1 id | 2 arrival that the cursor is of | 3 how many lines it has seen | 4 limit
-- Returns  false where no such job stands, else {arrival, lines seen, last number, number of the first line returned,
--          line, ...} (lib/logs)
--- @include lib/keys lib/conditions lib/rare lib/job lib/ids lib/logs
local n = find(ARGV[1])
local job = n and load(n)
if not job then return false end
local kept = has(job, HAS_LOG) and redis.call('HGET', key('l' .. job.arrival), 'm')
if not kept then return {n, 0, 0, 1} end
local last, head, first = struct.unpack(LOG, kept)
local seen, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
if tonumber(ARGV[2]) ~= n or seen > last then seen = 0 end
local from, to = math.max(seen + 1, first), last
if seen < head then from, to = seen + 1, head end
to = math.min(to, from + limit - 1)
local answer = {n, seen, last, from}
if from > to then return answer end
local names = {}
for number = from, to do names[#names + 1] = string.format('%d', number) end
for _, line in ipairs(redis.call('HMGET', key('l' .. job.arrival), unpack(names))) do answer[#answer + 1] = line end
return answer
