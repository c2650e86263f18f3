// Questions of one view to the server, asked one at a time: two at once could be answered in the wrong order,
// and each would forget what the other changed. Of what is asked meanwhile, as by held keys or a slider, the
// newest of each kind comes next. Load before the scripts that ask.
let asked = null;  // {name, data, timer}, under way
const next = {};  // data by the event's name

function send(name, data) {
  delete next[name];
  if (asked?.name === name && JSON.stringify(asked.data) === JSON.stringify(data)) return;
  next[name] = data;
  proceed();
}

function proceed() {
  const [name] = Object.keys(next);
  if (asked || name === undefined) return;
  const data = next[name];
  delete next[name];
  // A refusal, or the same value again, is no answer.
  asked = {name, data, timer: setTimeout(() => answered(name), 2000)};
  trigger(name, data);
}

function answered(name) {  // what is asked next by this name
  const later = next[name];
  if (asked?.name === name) {
    clearTimeout(asked.timer);
    asked = null;
    proceed();
  }
  return later;
}
