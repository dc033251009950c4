-- Health of an OptimizationPipeline, as Argo CD's customization espalier.dev/OptimizationPipeline.
--   Progressing  something will still happen, or this generation has not been looked at yet
--   Suspended    spec.runPolicy.suspend is true and nothing runs any more
--   Degraded     nothing will happen until the spec or the annotation espalier.dev/rerun changes: failed, or no leaf meets every constraint
--   Healthy      a leaf was selected and published
local function health(status, message)
  return { status = status, message = message }
end

if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "Waiting for the operator to look at this generation")
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

local function is(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

if is("Stalled") then
  local stalled = conditions["Stalled"]
  return health("Degraded", stalled.reason .. ": " .. stalled.message)
end
local ready = conditions["Ready"]
if ready ~= nil and ready.status == "False" and ready.reason == "Suspended" then
  return health("Suspended", ready.message)
end
if is("Ready") then
  return health("Healthy", ready.message)
end
if is("Reconciling") then
  local reconciling = conditions["Reconciling"]
  return health("Progressing", reconciling.reason .. ": " .. reconciling.message)
end
return health("Progressing", "Waiting for conditions")
