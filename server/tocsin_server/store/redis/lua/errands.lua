#!lua flags=allow-oom
-- errands: what is to be done now for jobs of one queue that wait for others, or that others wait for.
-- KEYS[1]  root of the queue
-- ARGV     1 limit
-- Returns  {ended, blocked}. ended: {token, id, arrival, how it ended, references of children, the first of them} of jobs
--          whose children are to hear of it; blocked: ids of jobs that are to ask their parents
-- Events   one a job whose block_timeout is over: it ends here
-- Bounds   at most `limit` of them, of each 100 children
-- What is given here comes again a little later, unless it was done (told.lua, settle.lua): who took it may have died.
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local told, blocked = {}, {}

local function look_at(job, member)
  local depends = job and job.state == BLOCKED and condition(job, DEPENDS)
  if not depends then
    redis.call('ZREM', key('O'), member)
    return
  end
  local _, _, longest = struct.unpack('>BBI6', depends)
  if longest > 0 and job.create + longest <= NOW then
    add_error(job, error_body('BLOCK_TIMEOUT', string.format(
      'it waited for other jobs for as long as its block_timeout says, %d ms, and not all of them had ended.', longest)))
    end_as(job, FAILED)
    return
  end
  blocked[#blocked + 1] = id_of(job)
  job.errand, job.quiet = next_look(job.create, depends, ASK_PARENTS_MS), true
  touch(job)
end

local function tell(member)
  local children = redis.call('SRANDMEMBER', key('C' .. member), 100)
  local said = redis.call('HGET', key('E'), member)
  if not said or #children == 0 then
    redis.call('ZREM', key('O'), member)
    redis.call('HDEL', key('E'), member)
    redis.call('UNLINK', key('C' .. member))
    return
  end
  local how, own_id, create, at = struct.unpack('>BBI6', said)
  local n, own = struct.unpack('>I6', member), string.sub(said, at)
  redis.call('ZADD', key('O'), string.format('%d', NOW + ERRAND_MS), member)
  told[#told + 1] = {member, own_id == 1 and string.sub(own, 3) or made_id(n, create, own), n, how, children}
end

local due = redis.call('ZRANGEBYSCORE', key('O'), '-inf', NOW, 'LIMIT', '0', ARGV[1])
for _, member in ipairs(due) do
  if #member == 6 then look_at(load((struct.unpack('>I6', member))), member) else tell(member) end
end
if #due > 0 then stirred.O = true end
if #order > 0 then commit() elseif #due > 0 then flush_tick(0) end
return {told, blocked}
