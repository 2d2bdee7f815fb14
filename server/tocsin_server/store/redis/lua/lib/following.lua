-- following: what follows the end of a job, and what a job waits for (JobSpec.depends_on, on_end). Keys stand in lib/keys,
-- conditions in lib/conditions. A job is named by its reference: B length, queue, id.
--   DEPENDS  B when_parent_fails, B whether it is another's on_end, I6 block_timeout in ms, 0 for none
--   WATCHED  empty: children may stand in :C<arrival>
--   ON_END   reference of the job that its end lets go
--   :D<arrival>, of a child  reference of a parent -> I2 place in the order given, I6 arrival (0, or MISSES on: whichever
--            bears the id), B how it ended, OPEN or GONE or a state; "" -> how many are open
-- A job that ends is put into :O in the step that ends it, and its children go to a set of their own: whatever becomes of
-- the job, who is to hear of it stands there until they have (errands.lua, told.lua).
local OPEN, GONE = 0, 1
local MISSES = 281474976709656  -- arrivals from here on are none (domain/dependencies.py)
local RUN_ALL_THE_SAME, FAIL_TOO, CANCEL_TOO = 1, 2, 3

-- The payload as it stands, read only where a new rest must be written before it.
local function payload_of(job)
  return job.payload_new or redis.call('GETRANGE', key('j' .. job.arrival), HEADER_LEN + #job.rest + #job.own, -1)
end

-- Gives the job another value of a condition; nil takes it away.
--- @rare
local function set_condition(job, wanted, value)
  local fields = {}
  if has(job, CONDITIONS) then
    local at, number, said = #job.type + 4, nil, nil
    while at < job.tags_at do
      number, said, at = struct.unpack('>BI2c0', job.rest, at)
      if number ~= wanted then fields[#fields + 1] = struct.pack('>BI2', number, #said) .. said end
    end
  end
  if value then fields[#fields + 1] = struct.pack('>BI2', wanted, #value) .. value end
  local block, payload, behind = table.concat(fields), payload_of(job), string.sub(job.rest, job.tags_at)
  remember_conditions(job)
  clear_flag(job, CONDITIONS)
  if block ~= '' then
    set_flag(job, CONDITIONS)
    block = struct.pack('>I2', #block) .. block
  end
  rewrite(job, string.sub(job.rest, 1, 1 + #job.type) .. block .. behind, payload)
end

-- What of a standing job goes on with whatever comes in its place.
--- @rare
local function keep_following(job)
  local watched, on_end = condition(job, WATCHED), condition(job, ON_END)
  return function(now)
    if watched then set_condition(now, WATCHED, watched) end
    if on_end then set_condition(now, ON_END, on_end) end
  end
end

-- When a child is to be looked at again, `ms` from now, or at its block_timeout.
--- @rare
local function next_look(create, depends, ms)
  local _, _, longest = struct.unpack('>BBI6', depends)
  return longest > 0 and math.min(create + longest, NOW + ms) or NOW + ms
end

-- Writes the parents of a child: of each I2 length, reference, I6 arrival, B how it ended.
--- @rare
local function write_parents(arrival, packed)
  local list, at, place, open = list_of('HSET', 'D' .. arrival), 1, 0, 0
  while at <= #packed do
    local reference, n, how
    reference, n, how, at = struct.unpack('>I2c0I6B', packed, at)
    place = place + 1
    if how == OPEN then open = open + 1 end
    list[#list + 1], list[#list + 2] = reference, struct.pack('>I2I6B', place, n, how)
  end
  list[#list + 1], list[#list + 2] = '', open
end

-- Of what is sent of a new child, parents follow the payload, and their length them. Returns what is left.
--- @rare
local function take_parents(arrival, body)
  local size = struct.unpack('>I4', body, #body - 3)
  write_parents(arrival, string.sub(body, #body - 3 - size, #body - 4))
  return string.sub(body, 1, #body - 4 - size)
end

-- Of a job's plan (lib/commit): when it is to be looked at, and who is to hear of its end.
--- @rare
local function plan_following(plan, job, now, before)
  local was, depended = job.was, before and condition(before, DEPENDS)
  if now and now.state == BLOCKED and condition(now, DEPENDS) then
    if now.errand then
      plan.errand_in, plan.errand, plan.follows = list_of('ZADD', 'O'), string.format('%d', now.errand), true
      stirred.O = true
    end
  elseif depended and was.state == BLOCKED then
    plan.errand_out, plan.follows, stirred.O = list_of('ZREM', 'O'), true, true
  end
  if depended and not (now and condition(now, DEPENDS)) then plan.parents_gone, plan.follows = true, true end
  if (was and was.state >= COMPLETED) or (now and now.state < COMPLETED) then return end
  local on_end, watched = condition(now or before, ON_END), condition(now or before, WATCHED)
  if on_end or watched then
    plan.follows = true
    plan.tells = {how = now and now.state or GONE, on_end = on_end, watched = watched, revision = job.revision,
      create = job.create, own_id = has(job, OWN_ID) and 1 or 0}
  end
end

-- Puts a job that ends here into :O, with those who are to hear of it.
--- @rare
local function tell_end(tells, arrival, own)
  local member = arrival .. struct.pack('>I4', tells.revision)
  local children = key('C' .. member)
  if tells.watched and redis.call('EXISTS', key('C' .. arrival)) == 1 then
    redis.call('RENAME', key('C' .. arrival), children)
  elseif not tells.on_end then
    return
  end
  if tells.on_end then redis.call('SADD', children, tells.on_end) end
  redis.call('HSET', key('E'), member, struct.pack('>BBI6', tells.how, tells.own_id, tells.create) .. own)
  local list = list_of('ZADD', 'O')
  list[#list + 1], list[#list + 2] = string.format('%d', NOW), member
  stirred.O = true
end

-- Does for one job what its plan says of that.
--- @rare
local function follow(plan, arrival, own)
  local list = plan.errand_in
  if list then list[#list + 1], list[#list + 2] = plan.errand, arrival end
  list = plan.errand_out
  if list then list[#list + 1] = arrival end
  if plan.parents_gone then redis.call('UNLINK', key('D' .. arrival)) end
  if plan.tells then tell_end(plan.tells, arrival, own) end
end

-- Whether a job that has ended is still to be told of.
--- @rare
local function is_untold(job)
  if not (condition(job, WATCHED) or condition(job, ON_END)) then return false end
  return redis.call('HEXISTS', key('E'), job.arrival .. struct.pack('>I4', job.revision)) == 1
end
