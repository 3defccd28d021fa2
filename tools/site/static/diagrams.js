// Draws the page's diagrams, in the look that the reader has. The program is large, so only a page with a diagram loads it.
(() => {
  const diagrams = [...document.querySelectorAll('pre.mermaid')].map((place) => ({ place, text: place.textContent }));
  if (diagrams.length === 0) return;
  const system = matchMedia('(prefers-color-scheme: dark)');

  // The theme's button sets it: auto, light or dark.
  function isDark() {
    const chosen = document.body.dataset.theme;
    return chosen === 'dark' || (chosen !== 'light' && system.matches);
  }

  let drawn;
  async function draw() {
    if (drawn === isDark()) return;
    drawn = isDark();
    mermaid.initialize({
      startOnLoad: false,
      theme: drawn ? 'dark' : 'default',
      fontFamily: 'system-ui, sans-serif',
      flowchart: { useMaxWidth: false },
    });
    for (const { place, text } of diagrams) {
      place.removeAttribute('data-processed');
      place.textContent = text;
    }
    await mermaid.run({ nodes: diagrams.map(({ place }) => place) });
  }

  for (const { place } of diagrams) {
    place.tabIndex = 0;
    place.title = 'Click to enlarge or reduce';
    const resize = () => place.classList.toggle('large');
    place.addEventListener('click', resize);
    place.addEventListener('keydown', ({ key }) => key === 'Enter' && resize());
  }
  const program = document.createElement('script');
  program.src = new URL('mermaid.tiny.js', document.currentScript.src);
  program.addEventListener('load', () => {
    draw();
    system.addEventListener('change', draw);
    new MutationObserver(draw).observe(document.body, { attributeFilter: ['data-theme'] });
  });
  document.head.append(program);
})();
