#!lua flags=allow-oom
-- delete: remove jobs; their ids are free at once.
-- KEYS[1]  root of the queue
-- ARGV     1 "1" only ended ones, "0" any that does not run | then the ids
-- Returns  one an id: {"OK"} | {"JOB_NOT_FOUND"} | {"WRONG_STATE", state}
-- Events   one "deleted" a job
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local answers = {}
for i = 2, #ARGV do
  local job = find_job(ARGV[i])
  if not job then
    answers[#answers + 1] = {'JOB_NOT_FOUND'}
  elseif job.state == ACTIVE or (ARGV[1] == '1' and not ended(job.state)) then
    answers[#answers + 1] = {'WRONG_STATE', job.state}
  else
    remove_early(job)
    answers[#answers + 1] = {'OK'}
  end
end
commit()
return answers
