#!lua flags=allow-oom
-- check: hold what is derived from jobs' records against them, and mend what differs. Records are what is true.
-- KEYS[1]  root of the queue
-- ARGV     suffixes of keys of the queue (lib/keys), each with the place where to go on in it, at first 0
-- Returns  {1 if the queue stands, how many of the keys were done, the place where to go on in the next, name and number
--          of what was mended, ...}
-- Wakes    as fits a job that was in no row
-- Bounds   looks at some 300 records a call
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/mend_filing lib/mend
filing = mode_as_set()
local done, start = 0, tonumber(ARGV[2])
while ARGV[2 * done + 1] and left > 0 do
  start = check(ARGV[2 * done + 1], start)
  if not start then
    done = done + 1
    start = tonumber(ARGV[2 * done + 2])
  end
end
commit()
if next(keyed_rows) or next(let_go) then keep_heads() end
for name in pairs(recount) do check_list(name) end
if highest > 0 then check_head() end
local stands = redis.call('EXISTS', key('q'))
if stands == 1 then check_tick() end
local answer = {stands, done, start or 0}
for what, number in pairs(mended) do
  answer[#answer + 1] = what
  answer[#answer + 1] = number
end
return answer
