#!lua flags=allow-oom
-- reseal_lines: put other texts in the place of lines of a job's log, where they stand as they were read.
-- KEYS[1]  root of the queue
-- ARGV     1 id | 2 the job's arrival | for each line: its number | text as it was read | text as it is to be
-- Returns  how many stood so
-- Bounds   the caller sends at most 500 lines
--- @include lib/keys lib/conditions lib/rare lib/job lib/ids lib/logs
local n = find(ARGV[1])
if n ~= tonumber(ARGV[2]) then return 0 end
local at, anew = key('l' .. arrival6(n)), {}
for i = 3, #ARGV, 3 do
  local line = redis.call('HGET', at, ARGV[i])
  if line and string.sub(line, LINE_HEAD + 1) == ARGV[i + 1] then
    anew[#anew + 1] = ARGV[i]
    anew[#anew + 1] = string.sub(line, 1, LINE_HEAD) .. ARGV[i + 2]
  end
end
for i = 1, #anew, 2 do redis.call('HSET', at, anew[i], anew[i + 1]) end
return #anew / 2
