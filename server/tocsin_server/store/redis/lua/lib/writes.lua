-- writes: what a commit will write, gathered by key while an operation changes jobs (lib/commit).
local FIELDS = 6
local order = {}  -- of each job changed, one after the other: job, number, arrival, own, body or false, result or false
local by_key = {}  -- arguments by command and key
local ids_new = {}  -- id to arrival, for the index of ids
local ranked = false  -- whether a SCHEDULED job has a priority

-- One more job that stood as `job` did and now stands as it does. body: own and payload of one to be written whole;
-- result: of one that has one, as an extra.
local function join(job, n, arrival, own, body, result)
  local at = #order
  order[at + 1], order[at + 2], order[at + 3], order[at + 4] = job, n, arrival, own
  order[at + 5], order[at + 6] = body or false, result or false
  touched[n] = job
end

local function touch(job)
  if not touched[job.n] then join(job, job.n, job.arrival, job.own) end
  return job
end

-- The list of arguments of a command to a key.
local function list_of(command, name)
  local lists = by_key[command]
  if not lists then
    lists = {}
    by_key[command] = lists
  end
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  return list
end

local function came_into(row, score, anew)
  local first = stirred[row]
  if anew or first == true then stirred[row] = true else stirred[row] = math.min(first or score, score) end
end
