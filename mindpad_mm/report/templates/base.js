'use strict';
// Buttons that copy: of code, and of tables as lines of tab-separated cells.
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // not allowed, e.g. in a frame
    const area = document.body.appendChild(Object.assign(document.createElement('textarea'), {value: text}));
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  const label = button.dataset.label ??= button.textContent;
  button.textContent = 'copied';
  setTimeout(() => { button.textContent = label; }, 1500);
}
document.querySelectorAll('pre, table').forEach(element => {
  const button = Object.assign(document.createElement('button'), {type: 'button', className: 'copy', textContent: 'copy'});
  button.setAttribute('aria-label', element.tagName === 'PRE' ? 'Copy the code' : 'Copy the table');
  button.addEventListener('click', () => copy(element.tagName === 'PRE' ? element.textContent
    : [...element.rows].map(row => [...row.cells].map(cell => cell.textContent.trim().replace(/\s+/g, ' ')).join('\t')).join('\n'), button));
  const shown = element.closest('.scroll') ?? element, around = document.createElement('div');
  around.className = 'copyable';
  shown.replaceWith(around);
  around.append(shown, button);
});
// On phones: what is not said first is folded away, and a wide picture is enlarged by a tap.
const phone = matchMedia('(max-width: 40rem)');
document.querySelectorAll('details.more').forEach(details => { details.open = !phone.matches; });
document.querySelectorAll('img.wide').forEach(picture => picture.addEventListener('click', () => picture.classList.toggle('large')));
