-- filing: jobs of a queue with limits or turns stand in more than their rows. Who runs has a place in indexes, by type,
-- by key, by type and key; so a limit's size is that of an index, and whoever ends a lease, however it ends, frees it.
-- Who waits stands in a row of its type and key. FILED, a flag of the record, says that a job stands so, whatever the
-- queue says now: settings change, and jobs follow them one by one.
-- A job that is to run again, however its attempt ended, keeps its key's place where the key has one place only (`ends` is
-- 1 then), and comes first in its row: so the order of a key's jobs is that of their arrival.
local filing = 0  -- the mode
-- Rows of keys that this commit changes: by name {type, key, head before, its score, levels}; and the names, as a list: keys
-- that come together get their turns in the order in which they came.
local keyed_rows = {}
local let_go = {}  -- keys of which a place became free

--- @rare
local function note_row(type, k, moved)
  local name = 'w' .. type .. ':' .. k
  if keyed_rows[name] then
    keyed_rows[name].moved = moved or keyed_rows[name].moved
    return
  end
  local head, score, levels = foremost(name)
  keyed_rows[name] = {type = type, key = k, before = head or false, score = score, levels = levels, moved = moved or levels}
  keyed_rows[#keyed_rows + 1] = name
end

-- Says of a job that changes how it is filed now. Returns the indexes that it leaves, and those that it enters.
--- @rare
local function file(job)
  local was, now = job.was, not job.gone and job
  local was_filed = was and was.flags >= FILED
  if now then
    local k = now.key_of == now.rest and now.key or condition(now, LIMIT_KEY) or ''
    now.key = k
    local waits, holds = now.state == SCHEDULED or now.state == WAITING, false
    if waits then
      if was_filed and k ~= '' and k == was.key then
        if was.state == ACTIVE then
          holds = in_mode(filing, ORDERED) and ordered(now.type, k)
        else
          holds = was.ends == 1 and now.ends == 1 and in_mode(filing, KEYED)
        end
      end
      if holds then
        now.ends, now.meta = 1, nil
      elseif was_filed and was.ends == 1 then
        now.ends, now.meta = 0, nil
      end
    end
    local filed = holds or (now.state == ACTIVE and in_mode(filing, LIMITED)) or
      (now.state == WAITING and not now.held and (in_mode(filing, FAIR) or (k ~= '' and in_mode(filing, KEYED))))
    if has(now, FILED) ~= filed then now.flags, now.meta = now.flags + (filed and FILED or -FILED), nil end
  end
  local now_filed = now and now.flags >= FILED
  local out, into = {}, {}
  local ran, runs = was_filed and was.state == ACTIVE, now_filed and now.state == ACTIVE
  local held = was_filed and was.key ~= '' and (ran or was.ends == 1)
  local holds = now_filed and now.key ~= '' and (runs or now.ends == 1)
  if ran and not runs then
    out[1], freed = list_of('ZREM', 'c' .. was.type), true
  elseif runs and not ran then
    into[1] = list_of('ZADD', 'c' .. now.type)
  end
  if held and not holds then
    out[#out + 1], out[#out + 2] = list_of('ZREM', 'c:' .. was.key), list_of('ZREM', 'c' .. was.type .. ':' .. was.key)
    let_go[was.key] = true
  elseif holds and (runs or not held) then
    into[#into + 1], into[#into + 2] = list_of('ZADD', 'c:' .. now.key), list_of('ZADD', 'c' .. now.type .. ':' .. now.key)
  end
  local in_row = now_filed and now.state == WAITING and not now.held
  if holds and in_row then let_go[now.key] = true end  -- its own place is free for it
  if was_filed and was.state == WAITING and not was.held then note_row(was.type, was.key) end
  -- Who keeps a place is first in its row whatever its priority; among heads of rows that counts.
  if in_row then note_row(now.type, now.key, holds and was.priority ~= now.priority) end
  return out, into
end
