#!lua flags=allow-oom
-- watch: children ask parents of one queue to be told of their ends.
-- KEYS[1]  root of the queue
-- ARGV     for each: id of the parent | I6 arrival that it must have, 0 for any | reference of the child (lib/following) |
--          "1" where it must be the one that the parent's on_end names
-- Returns  {how, arrival} a watch. how: a state in which it has ended, 0 where the child is told of its end from now on, 1
--          where no such parent stands
-- Events   none: to be watched is no change of a job
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit
local function watch(job, child, of_end)
  if of_end then
    if condition(job, ON_END) ~= child then return GONE end
  elseif not ended(job.state) then
    redis.call('SADD', key('C' .. job.arrival), child)
    if not condition(job, WATCHED) then
      set_condition(job, WATCHED, '')
      job.quiet = true
      touch(job)
    end
  end
  return ended(job.state) and job.state or OPEN
end

local answers = {}
for i = 1, #ARGV, 4 do
  local job, wanted = find_job(ARGV[i]), struct.unpack('>I6', ARGV[i + 1])
  if not job or (wanted > 0 and job.n ~= wanted) then
    answers[#answers + 1] = {GONE, 0}
  else
    answers[#answers + 1] = {watch(job, ARGV[i + 2], ARGV[i + 3] == '1'), job.n}
  end
end
commit()
return answers
