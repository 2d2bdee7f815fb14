#!lua flags=no-writes
-- get: read jobs by id.
-- KEYS[1]  root of the queue
-- ARGV     1 "1" with payloads, "0" without | then the ids
-- Returns  one an id: its answer, or false
--- @include lib/keys lib/conditions lib/rare lib/job lib/ids
local answers = {}
for i = 2, #ARGV do
  local n, job = find(ARGV[i])
  if n then job = ARGV[1] == '1' and load_full(n) or job or load(n) end
  answers[#answers + 1] = job and answer(job) or false
end
return answers
