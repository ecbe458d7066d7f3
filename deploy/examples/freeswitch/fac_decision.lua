-- scripts/fac_decision.lua: the decision on a leg becomes a channel variable, fac_caller or fac_agent.
local said = event:getBody() or ""
if said:match('"type"%s*:%s*"decision.changed"') then
  local uuid = event:getHeader("Unique-ID")
  local leg = said:match('"leg"%s*:%s*"(%w+)"')
  local decision = said:match('"decision"%s*:%s*"(%w+)"')
  if uuid and leg and decision then
    freeswitch.API():executeString("uuid_setvar " .. uuid .. " fac_" .. leg .. " " .. decision)
  end
end
