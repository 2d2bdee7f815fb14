-- drafts: jobs to be added, as they are sent, and what is made of them.
local HEAD, HEAD_LEN = '>BBI6Bi4', 13
local UNIQUE = 4  -- on_conflict: the id was made at random, and is not looked for
local last = 0  -- the queue's last arrival number

local function read_head(head)
  local on_conflict, is_delay, ms, flags, priority = struct.unpack(HEAD, head)
  local due = math.max(NOW, is_delay == 1 and NOW + ms or ms)
  local asked = {on_conflict = on_conflict, due = due, state = due > NOW and SCHEDULED or WAITING, flags = flags,
    priority = priority, rest = string.sub(head, HEAD_LEN + 1), job = false, collapse = false,
    type = (struct.unpack('>Bc0', string.sub(head, HEAD_LEN + 1)))}
  if has(asked, CONDITIONS) then
    few = true
    asked.tags_at = behind_conditions(asked.rest, #asked.type + 2, flags)
    asked.collapse = condition(asked, COLLAPSE)
    asked.depends = condition(asked, DEPENDS)
    if asked.depends then
      rare()
      asked.state, asked.errand = BLOCKED, next_look(NOW, asked.depends, ASK_PARENTS_MS)
    end
  end
  return asked
end

local function new_job(asked, revision)
  local type, at = struct.unpack('>Bc0', asked.rest)
  local job = {rest = asked.rest, type = type, tags_at = behind_conditions(asked.rest, at, asked.flags),
    state = asked.state, flags = asked.flags, priority = asked.priority, attempt = 0, failures = 0, crashes = 0,
    revision = revision, create = NOW, due = asked.due, start = 0, ends = 0, token = NO_TOKEN, was = false,
    errand = asked.errand}
  job.new_tags = tags(job)
  if asked.refused then refuse(job) end
  return job
end

-- What is asked for, where a limit that is full does not let it wait: the same as one that ends at once.
--- @rare
local function judged(asked)
  asked.tags_at = asked.tags_at or behind_conditions(asked.rest, 2 + #asked.type, asked.flags)
  if not is_refused(asked.type, condition(asked, LIMIT_KEY) or '') then return asked end
  if not asked.ended then
    asked.ended = {}
    for name, value in pairs(asked) do asked.ended[name] = value end
    asked.ended.ended, asked.ended.job, asked.ended.state, asked.ended.refused = nil, false, CANCELLED, true
  end
  return asked.ended
end

-- The new job, and as what it was asked for in the end.
local function create(asked, id, body, replaced)
  if asked.state == WAITING and strict_limits() then asked = judged(asked) end
  local job = not replaced and asked.job or new_job(asked, replaced and replaced.revision + 1 or 1)
  if not replaced then asked.job = job end
  last = last + 1
  local arrival, own = arrival6(last), string.sub(body, 1, id and 2 + #id or 4)
  if asked.depends then body = take_parents(arrival, body) end
  if id and asked.on_conflict == UNIQUE then
    local list = list_of('HSET', 'd')  -- into the index at once: nobody asks for it in this call
    local at = #list
    list[at + 1], list[at + 2] = id, arrival
  elseif id then
    ids_new[id] = arrival
  end
  if not job.n then job.n, job.arrival, job.own = last, arrival, own end
  join(job, last, arrival, own, body)
  return job, asked
end
